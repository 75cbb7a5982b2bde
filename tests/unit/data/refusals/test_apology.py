"""What refuses, in many words and languages, and what a true caption may look like all the same."""

from pathlib import Path

import pytest

from umgclip.annotate.rules.caption_text import text_fault
from umgclip.data.refusals.apology import refuses, says_nothing
from umgclip.data.refusals.first_person import LANGUAGES, refuses_in_first_person, refusing_languages, words_of

TEXTS = Path(__file__).parent / "texts"

REFUSALS = """
I'm sorry, but I can't help with that.
I’m unable to describe people.
As an AI language model, I
Sorry, I cannot see the image
Unfortunately, the image is not visible
No image was provided.
[image not available]
عذراً، لا يمكنني رؤية الصورة
لا أستطيع وصف هذه الصورة
क्षमा करें, मैं इस चित्र का वर्णन नहीं कर सकता
मुझे खेद है, मैं सहायता नहीं कर सकता
Xin lỗi, tôi không thể xem hình ảnh này.
Rất tiếc, tôi không thể giúp việc đó.
There is no image attached
Please upload the image
I cannot identify the person.
I don't see any image attached to your message.
Unable to describe the image as it was not provided.
Lo siento, no puedo ayudar con eso.
抱歉，我无法查看这张图片。
Es tut mir leid, ich kann dieses Bild nicht beschreiben.
Ich kann das Bild nicht sehen.
Leider kann ich dabei nicht helfen.
Als KI kann ich keine Bilder sehen.
Das Bild kann nicht angezeigt werden.
Je suis désolé, mais je ne peux pas décrire cette image.
Désolé, je ne peux pas vous aider.
Je ne vois aucune image.
En tant qu'IA, je ne peux pas identifier les personnes.
L'image n'a pas pu être chargée.
No puedo ver la imagen.
Como modelo de lenguaje, no puedo ver imágenes.
La imagen no se puede mostrar.
Mi dispiace, non posso aiutarti.
Non posso descrivere questa immagine.
L'immagine non può essere visualizzata.
Desculpe, não posso ajudar com isso.
Não consigo ver a imagem.
A imagem não pôde ser carregada.
对不起，我不能协助处理这个请求。
我无法识别图片中的人物。
图片无法显示
作为一个人工智能，我不能
申し訳ありませんが、この画像についてはお手伝いできません。
画像を表示できません。
죄송합니다. 이 이미지를 설명할 수 없습니다.
이미지를 볼 수 없습니다.
Извините, я не могу помочь с этим.
Я не вижу изображения.
К сожалению, изображение не загрузилось.
The image cannot be displayed.
This image could not be loaded.
The image you provided could not be processed.
It seems that no image was attached.
It looks like you forgot to attach the image.
I apologize, but I am not able to assist.
My apologies, but I cannot view this.
A person in a room. I cannot identify who this is.
Het spijt me, ik kan dit niet doen.
Przepraszam, nie mogę pomóc.
"I'm sorry, I can't assist with that."
This content violates our content policy.
I do not have the ability to see images.
Sorry.
I'm an AI and can't see.
I can not help with this request
Cannot process this image.
Cannot describe.
Cannot see the image.
Can't assist with that request.
Cannot help with that.
Could not load the picture from the link.
Unable to identify people.
Unable to open the file
Impossible de voir l'image.
Impossibile descrivere l'immagine.
Невозможно описать изображение.
Sorry, no image.
Jag är ledsen
Request denied.
Error: no image
I cannot make out what is shown here.
Je suis dans l'impossibilite de decrire cette photo.
A dog. I cannot help with this request.
"""

CAPTIONS = """
A seat that is not available any more
قطة تجلس على سجادة
एक बिल्ली चटाई पर बैठी है
Một con mèo ngồi trên thảm
a sorry sight
No parking sign on a wall
an ice cream
Please stop sign
a sorry-looking dog
an image of a dog
An image of the moon above a lake
A sign that reads "Sorry, we're closed"
Sorry, we're closed sign hanging on a shop door
"I can't believe it" written on a wall
I see a dog on a sofa
A woman says I am sorry to a child on the phone
A robot with the letters AI on its chest
A poster about a large language course
Unfortunate spill of milk on a table
The image is blurry and shows a street
The image is blank
The picture frame is not straight on the wall
The image does not contain people, only a mountain
A blank image
A white background with no image
No people on the beach
No entry sign next to a fence
There is no snow on the mountain
There are no photos on the wall
Apologies card with flowers on a table
Two people apologising to each other
A boy who can't reach the shelf
Can of soda on a table
Cannot see the forest for the trees
Can't see the wood for the trees
Can't open the gate, says a man to a dog
Could not answer the door, a cat at the window
Unable to open the door, a man waits outside
Unable to access the road, cars queue in the snow
Impossible de voir le sommet dans la brume
Impossibile vedere la cima nella nebbia
A man from nowhere
Nothing but sand and sky
Unknown soldier's tomb in a park
Cannon in front of a castle
The photo was taken at night
The photograph was taken from above
The picture was painted on a wall
Please wait to be seated sign
Leider is a name on a jersey
Ich-Statue im Park
Ein Bild von einem Hund auf einer Wiese
Ein trauriger Hund
Das Bild zeigt eine Katze
Je t'aime écrit sur un mur
L'image montre un chat noir
Une photo d'un chien désolé
No hay nadie en la calle
Una imagen de un perro
No hay nubes en el cielo
Como un toro en la plaza
Non c'è nessuno nella piazza
Un cane triste
L'immagine mostra un gatto
A imagem mostra um gato
Não há ninguém na praia
一只猫坐在垫子上。
图片中有一只狗
没有人的街道
一张图片，上面写着“对不起”
这张图片显示了一座桥
画像には犬が写っています
写真の中の猫
桜の木の下で写真を撮る人
이미지에는 개가 있습니다
사진 속 고양이
На изображении собака
Фото кошки на диване
Изображение кошки
Как в сказке: замок у озера
A cat on a mat. It looks at the camera.
A T-shirt that says I love NY
I love NY sign
We can do it poster
As a child plays, a dog watches
As an owl takes off, snow falls
A view of the sea as an airplane passes
Sent from the top of a hill
Try again sign on an arcade machine
An attached garage
Share the road sign
Could you be loved album cover
This content creator films herself
The image on the wall was not hung straight
This picture is not a painting but a photograph
The file cabinet is open
Tut-ankh-amun mask
Perdón street sign
The photo is not in color
This photo is not in focus
I took this picture of the Alps, I could not stop smiling.
I can't believe how blue the sea is in this picture!
I'm sorry for the quality, here is my dog on the beach.
This image shows a man I cannot identify, standing next to a red car with a dog.
A blurry image in which I cannot tell the breed of the dog, but it sits on grass.
A screenshot of a chat: I'm sorry, I can't help with that.
A book titled 'I Cannot Describe This Image'
"""


@pytest.mark.parametrize("said", REFUSALS.strip().splitlines())
def test_refusals(said):
    assert refuses(said)
    assert text_fault(said, 2) == "refusal"


@pytest.mark.parametrize("said", CAPTIONS.strip().splitlines())
def test_what_only_looks_like_a_refusal(said):
    assert not refuses(said)
    assert text_fault(said, 2) is None


@pytest.mark.parametrize(
    "said",
    [
        "N/A",
        "n/a.",
        "none",
        "None.",
        "unknown",
        "null",
        "-",
        "—",
        "...",
        '"None"',
        "[no caption]",
        " NA ",
        "**N/A**",
        "",
    ],
)
def test_what_holds_the_place_of_a_caption_is_none(said):
    assert says_nothing(said)
    assert text_fault(said, 2) == "empty"


@pytest.mark.parametrize(
    "said", ["nun", "A none too happy dog", "Nana", "unknown soldier", "null island", "犬", "NASA"]
)
def test_short_captions_are_captions(said):
    assert not says_nothing(said)
    assert text_fault(said, 2) is None


def corpus(name):
    """The sentences of a file, without the lines that name their language."""
    lines = (TEXTS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("# ")]


# The rules were written with `refusals` and `captions` in view. The others were written afterwards, and no rule was
# changed for one of their sentences: they say what to expect of a model that nobody has seen.
@pytest.mark.parametrize(
    ("name", "sentences", "refused"),
    [
        ("refusals", 814, 799),
        ("captions", 820, 2),
        ("refusals_held_back", 186, 51),
        ("captions_held_back", 186, 0),
        ("refusals_fresh", 30, 26),
        ("captions_first_person", 60, 7),
    ],
)
def test_share_of_refusals_in_31_languages(name, sentences, refused):
    texts = corpus(name)
    assert (len(texts), sum(map(refuses, texts))) == (sentences, refused)


def test_texts_of_people_refuse_only_if_nothing_else_is_meant():
    counts = {
        name: sum(refuses(text, strict=True) for text in corpus(name))
        for name in ("captions", "captions_held_back", "captions_first_person", "refusals_fresh")
    }
    assert counts == {"captions": 0, "captions_held_back": 0, "captions_first_person": 2, "refusals_fresh": 13}


def test_every_language_has_all_its_words():
    lists = {"me", "no", "do", "image", "weak", "ask", "model", "can"}
    assert [language.name for language in LANGUAGES if set(language.words) != lists] == []
    assert len({language.name for language in LANGUAGES}) == len(LANGUAGES) == 31


@pytest.mark.parametrize(
    ("sentence", "refused"),
    [
        ("I cannot comment on the people in this picture.", True),
        ("He cannot comment on the people in this picture.", False),  # no first person
        ("I may comment on the people in this picture.", False),  # no limit
        ("I cannot climb on the people's hill.", False),  # no task
        ("Your photo never arrived, please send another picture.", True),
        ("A photo that arrived by post.", False),
    ],
)
def test_a_refusal_has_a_writer_a_limit_and_a_task(sentence, refused):
    assert refuses_in_first_person(sentence) is refused


def test_no_language_is_left_out_that_would_say_a_sentence_refuses():
    sentences = [text for path in TEXTS.glob("*.txt") for text in path.read_text(encoding="utf-8").splitlines()]
    refusing = 0
    for sentence in sentences:
        asked = {language.name for language in LANGUAGES if language.refuses(*words_of(sentence))}
        answers = {language.name for language in refusing_languages(sentence)}
        assert asked <= answers if sentence.isascii() else asked == answers
        refusing += bool(asked)
    assert refusing > 500


@pytest.mark.timeout(10)  # what is quadratic in the length takes minutes
@pytest.mark.parametrize("part", [".", "a. ", "! ", "'", "“", "no "])
def test_a_long_answer_is_judged_by_its_beginning(part):
    assert not refuses(f"a dog on a beach {part * 200_000}")
    assert refuses(f"I'm sorry, I can't help with that. {part * 200_000}")
