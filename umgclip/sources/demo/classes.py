"""Vocabulary of the demo: 147 things (OpenMoji sprites) in eight groups and 12 stuff classes (backgrounds).

A name is the English one of the Python package `emoji`; what is shown to people and written into captions drops its
underscores and the word "face" (`locked` is called padlock). Every fifth thing is held out: training never sees a
region or pixel label of it.
"""

from __future__ import annotations

from dataclasses import dataclass

_THINGS: dict[str, str] = {
    "animal": (
        "dog_face cat_face mouse_face rabbit_face fox bear panda koala tiger_face lion cow_face pig_face frog "
        "monkey_face penguin owl duck parrot flamingo peacock bat unicorn honeybee butterfly snail lady_beetle spider "
        "turtle snake octopus shrimp crab tropical_fish dolphin whale zebra elephant camel giraffe hedgehog"
    ),
    "food": (
        "green_apple tangerine lemon banana watermelon grapes strawberry cherries pineapple coconut tomato eggplant "
        "avocado broccoli cucumber hot_pepper ear_of_corn carrot garlic croissant pretzel cheese_wedge pancakes bacon "
        "hamburger french_fries pizza hot_dog taco doughnut cookie birthday_cake cupcake lollipop popcorn"
    ),
    "vehicle": (
        "automobile taxi bus police_car ambulance fire_engine tractor bicycle motor_scooter airplane helicopter rocket "
        "flying_saucer sailboat anchor"
    ),
    "sport": "soccer_ball basketball tennis rugby_football boxing_glove skateboard trophy kite",
    "music": "guitar trumpet violin drum saxophone accordion microphone",
    "tool": "hammer axe wrench gear magnet microscope scissors key locked pencil paintbrush candle flashlight",
    "plant": "cactus evergreen_tree palm_tree sunflower rose mushroom maple_leaf four_leaf_clover",
    "object": (
        "umbrella backpack glasses top_hat crown jeans dress high-heeled_shoe socks watch light_bulb television camera "
        "laptop telephone battery teddy_bear gem_stone balloon wrapped_gift bomb"
    ),
}

_SHOWN = {"locked": "padlock"}

STUFF: tuple[str, ...] = (
    "grass", "sand", "water", "snow", "night sky", "blue sky", "brick wall", "wooden floor", "asphalt", "red carpet",
    "pebbles", "purple paper",
)  # fmt: skip


@dataclass(frozen=True)
class Thing:
    """One class: the name written in captions, its emoji name, its group, and whether training never labels it."""

    name: str
    emoji_name: str
    group: str
    held_out: bool


def things() -> list[Thing]:
    """List the things in their fixed order; every fifth is held out."""
    pairs = [(name, group) for group, names in _THINGS.items() for name in names.split()]
    return [
        Thing(_SHOWN.get(name, name.replace("_face", "").replace("_", " ")), name, group, index % 5 == 4)
        for index, (name, group) in enumerate(pairs)
    ]
