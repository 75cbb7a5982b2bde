"""Feelings in honest captions: words for what people say they cannot do, such as to believe or to wait.

Entries are written as in `first_person_words`.
"""

from __future__ import annotations

FEELINGS = {
    "en": "believe|wait|forget|forgot|remember|stop|stopped|resist|imagine|decide|choose|sleep|afford|smiling|smile|"
    "laughing|laugh|crying|happier|prouder|thank|thankful|miss|missed|love|loved|proud|get enough|get over|help but|"
    "tired|complain|regret|sharper|closer|steady|recommend|agree|reach|climb|swim|hold still|sit still|keep still",
    "de": "glauben|fassen|warten|erwarten|vergessen|vergesse|erinnern|aufhören|widerstehen|entscheiden|schlafen|"
    "lächeln|lachen|weinen|glücklicher|stolzer|vermisse|liebe|satt|müde|näher|ruhig",
    "fr": "croire|crois|attendre|oublier|oublierai|rappeler|souviens|souvenir|arrêter|m'arrêter|résister|imaginer|"
    "décider|choisir|dormir|sourire|rire|pleurer|heureux|heureuse|fier|fière|aime|fatigué*|plus près",
    "es": "creer|creo|esperar|olvidar|olvido|olvidaré|recordar|recuerdo|parar|resistir*|imaginar|decidir|elegir|dormir|"
    "sonreír|reír|llorar|feliz|orgullos*|encanta|cansad*|más cerca",
    "it": "credere|credo|aspettare|dimenticare|dimenticherò|ricordare|ricordo|smettere|resistere|immaginare|decidere|"
    "scegliere|dormire|sorridere|ridere|piangere|felice|fier*|stanc*|più vicino",
    "pt": "acreditar|acredito|esperar|esquecer|esqueço|lembrar|lembro|parar|resistir|imaginar|decidir|escolher|dormir|"
    "sorrir|rir|chorar|feliz|orgulhos*|cansad*|mais perto",
    "nl": "geloven|wachten|vergeten|herinneren|stoppen|ophouden|weerstaan|kiezen|slapen|lachen|huilen|gelukkiger|"
    "trots*|moe|dichterbij",
    "sv": "tro|fatta|vänta|glömma|glömmer|minnas|minns|sluta|motstå|välja|sova|skratta|gråta|lyckligare|stolt*",
    "da": "tro|fatte|vente|glemme|glemmer|huske|holde op|modstå|vælge|sove|grine|græde|lykkeligere|stolt*",
    "no": "tro|fatte|vente|glemme|glemmer|huske|slutte|motstå|velge|sove|le|gråte|lykkeligere|stolt*",
    "pl": "uwierzyć|wierzę|doczekać|zapomnieć|zapomnę|przestać|oprzeć|zdecydować|spać|śmiać|płakać|szczęśliw*|dumn*",
    "cs": "uvěřit|věřit|dočkat|zapomenout|nezapomenu|přestat|odolat|rozhodnout|spát|smát|plakat|šťastn*",
    "ru": "поверить|верю|дождаться|забыть|забуду|перестать|остановиться|устоять|решить|спать|смеяться|улыбаться|"
    "плакать|счастлив*|горжусь",
    "uk": "повірити|дочекатися|забути|забуду|перестати|зупинитися|вирішити|спати|сміятися|плакати|щаслив*",
    "tr": "inanamıyorum|inanamadım|bekleyemiyorum|unutamam|unutamıyorum|duramadım|dayanamadım|mutlu*",
    "zh": "相信|等不及|忘|忍不住|开心|停不下",
    "zh-Hant": "相信|等不及|忘|忍不住|開心|停不下",
    "ja": "信じられ|待ちきれ|待てな|忘れ|止まらな|我慢",
    "ko": "믿을 수|믿기지|기다릴 수|잊을 수|잊지|멈출 수|참을 수",
}
