"""The words of `first_person.py` by language: `SPACED` has whole words, `JOINED` parts of words.

`me`: the writer or the reader. `no`: negations, inabilities, prohibitions. `do`: the task and its rules. `image`: what
was to be described. `weak`: what should have happened to it. `ask`: a request to do it again. `model`: what writes.
"""

from __future__ import annotations

SPACED = {
    "en": {
        "me": "i|i'm|i'd|i'll|i've|me|my|your|you|us",
        "no": "not|*n't|cannot|unable|no|nothing|without|refrain*|declin*|avoid*|rather not|sorry|apolog*|"
        "regret*|unfortunately|afraid|beyond|outside|pass on|stay away|keep me|keeps me|keep us|prevent*|"
        "prohibit*|forbid*|forbidden|off the table|off limits|off-limits|missing|lack*|restrict*|refus*|reject*|"
        "abstain*|hesitant|uncomfortable|steer clear|instead of|impossible|violat*|against|only|never|withhold|"
        "skip",
        "do": "describe this|describe the|describe it|describe people|describe real|describe that|describe what|"
        "describe any|for me to describe|able to describe|going to describe|want to describe|asked to describe|"
        "describing th*|describing people|describing real|describing any|describing it|allowed to describe|"
        "descriptions of|a description|description of this|give a description|comment on the people|"
        "comment on the person|comment on this|comment on that|comment on it|identify* any*|identify* th*|"
        "identify* people|identify* individuals|identifying|naming any*|naming people|name the people|"
        "name anyone|recognise people|recognize people|recognising people|recognizing people|could caption|"
        "to caption|write a caption|help with this|help with that|help you with|assist with|assist you|"
        "this request|that request|your request|requests like|requests of|such requests|guidelines|guideline|"
        "policy|policies|language model|text-based|text-only|ai model|ai assistant|my instructions|"
        "my programming|comply|fulfil|fulfill|real people|real persons|real individuals|kind of content|"
        "type of content|such content|this content|privacy|engage with",
        "image": "image|images|picture|pictures|photo|photos|photograph|photographs|file|attachment|attached|"
        "uploaded|upload|visual|link",
        "weak": "reached|arriv*|received|receive|see any|see the image|see the picture|see the photo|"
        "see an image|see images|see pictures|view|viewing|open|access|load|loaded|loading|display|displayed|"
        "look at what|look at your|look at the|on my side|on my end|tell you|tell you about|missing|attach*|"
        "upload*|provided|come through|came through|my reach|process|processing|interpret|analyze|analyse|"
        "analyzing|analysing",
        "ask": "please|could you|can you|would you|mind|once more|resend|re-send|re-upload|reupload",
        "model": "language model|ai model|ai assistant|text-based|text-only",
    },
    "de": {
        "me": "ich|mir|mich|mein*|ihr|ihre|ihrem|ihren|ihnen|sie bitte|dein*|dir",
        "no": "nicht|nichts|kein*|leider|bedauer*|fehlt|verbiet*|verbot*|untersag*|lieber nicht|ohne|unmöglich|"
        "außerstande|ablehn*|lehne|verzicht*|unterlass*|verschlossen|enthalte|verweiger*|außerhalb|hinaus|"
        "hindern|hindert|weder|absehen|sorry|bedaure|unzulässig",
        "do": "beschreiben|beschreibe|zu beschreiben|beschreibung|schildern|schilderung|äußern|kommentieren|"
        "kommentar|benennen|identifizieren|identifikation|erkennen oder benennen|helfen|behilflich|weiterhelfen|"
        "unterstützen|anfrage|bitte ablehnen|richtlinie*|vorgaben|leitlinien|datenschutz*|sprachmodell|"
        "textsystem|textmodell|textbasiert*|ki|solche inhalte|solchen inhalten|bildunterschrift|auskunft|"
        "wiedergeben",
        "image": "bild|bilder|bildern|bildes|foto|fotos|datei|aufnahme|anhang|abbildung*",
        "weak": "angekommen|erhalten|empfangen|geladen|laden|anzusehen|ansehen|anschauen|öffnen|sehen kann|"
        "nicht sehen|sagen|zugriff|zugreifen|anzeigen|angezeigt|schicken|senden|hochladen|hochgeladen|"
        "verarbeiten|übermittelt|auswerten|betrachten|einsehen|vorliegen|vor",
        "ask": "noch einmal|nochmals|erneut|könnten sie|können sie|kannst du|bitte",
        "model": "sprachmodell|textsystem|textmodell|ki-modell|ki-assistent",
    },
    "fr": {
        "me": "je|j'*|me|m'*|moi|mon|ma|mes|nous|vous|votre",
        "no": "ne|n'*|pas|sans|aucun*|interdi*|malheureusement|hélas|impossible|refus*|déclin*|abst*|m'abstiens|"
        "dépass*|au-delà|désolé*|regret*|défend*|empêch*|ni|évit*|hors de",
        "do": "décrire|décris|décrit|la décrire|description|descriptions|commenter|commentaire|nommer|"
        "identifier|d'identifier|l'identité|reconnaître des|aider|vous aider|t'aider|l'aide|demande|requête|"
        "consigne*|mes règles|directives|règles|vie privée|confidentialité|modèle de langage|textuel*|d'ia|l'ia|"
        "ia|légende|ce type de contenu|assister",
        "image": "image|images|l'image|d'image|photo|photos|fichier|photographie|pièce jointe|l'illustration",
        "weak": "parvenu*|reçu*|charg*|regarder|voir|consulter|accéder|accès|ouvrir|afficher|envoy*|renvoy*|"
        "transmis*|dire|visualiser|analyser|traiter|joindre|télécharg*|examiner",
        "ask": "pourriez-vous|pouvez-vous|peux-tu|veuillez|à nouveau|de nouveau|s'il vous plaît|merci de",
        "model": "modèle de langage|modèle linguistique",
    },
    "es": {
        "me": "yo|me|mi|mis|puedo|debo|tengo|prefiero|temo|soy|estoy|voy|veo|lamento|quiero|he|podría|podrías|"
        "puedes|usted|podré|sé|nos|carezco|quisiera",
        "no": "no|sin|ningun*|ningún|nada|imposible|impide*|prohíb*|prohib*|lament*|desgracia|desafortunad*|"
        "carezco|rechaz*|declin*|negar*|abstener*|abstengo|más allá|fuera|infring*|viola*|evitar|evito|niego|"
        "tampoco|limit*",
        "do": "describir*|descripción|describirla|comentar*|comentario*|nombrar|identificar*|ayudar*|ayuda|"
        "asistir*|petición|solicitud|normas|directrices|pautas|políticas|reglas|privacidad|modelo de lenguaje|"
        "solo texto|inteligencia artificial|ia|pie de foto|tipo de contenido|personas reales",
        "image": "imagen|imágenes|foto|fotos|fotografía|fotografías|archivo|adjunto",
        "weak": "llegado|llegó|recib*|carg*|mirar|ver|visualizar|abrir|acceder|acceso|mostrar|envi*|contar|"
        "decir*|analizar|procesar|subir*|subiste|alcance|adjuntar|examinar",
        "ask": "por favor|podrías|podría|puedes|puede|otra vez|de nuevo|nuevamente",
        "model": "modelo de lenguaje|modelo lingüístico",
    },
    "it": {
        "me": "io|mi|mio|mia|miei|mie|posso|devo|ho|preferisco|temo|sono spiacente|saprei|so|riesco|potresti|"
        "potrebbe|può inviare|intendo|tuo|tua|suo file|ti|vi|voglio|vorrei|rifiuto",
        "no": "non|senza|nessun*|nulla|niente|impossibile|viet*|impedisc*|sfortunatamente|purtroppo|rifiut*|"
        "declin*|astener*|astengo|oltre|fuori|viola*|evitare|evito|spiacente|contrari*|né|proibi*",
        "do": "descriver*|descrivo|descrizione|descrizioni|commentar*|commento|commenti|identificar*|nominar*|"
        "fare i nomi|aiutar*|aiuto|assister*|richiesta|linee guida|regole|direttive|privacy|modello linguistico|"
        "testuale|intelligenza artificiale|ia|didascalia|tipo di contenuto|persone reali|consentito descrivere",
        "image": "immagine|immagini|l'immagine|un'immagine|dell'immagine|all'immagine|foto|fotografia|file|allegato",
        "weak": "arrivat*|ricevut*|caricat*|caricar*|guardare|vedere|visualizzare|aprire|accedere|accesso|"
        "mostrare|inviat*|inviar*|rimandar*|dir*|analizzare|elaborare|portata|allegar*|esaminare",
        "ask": "per favore|potresti|potrebbe|puoi|di nuovo|nuovamente|ancora",
        "model": "modello linguistico",
    },
    "pt": {
        "me": "eu|me|mim|meu|minha|meus|minhas|posso|devo|tenho|prefiro|receio|sou|estou|vou|recebi|consigo|"
        "saberia|sei|você poderia|pode|sua|seu|lhe|quero|recuso|preciso",
        "no": "não|sem|nenhum*|nada|impossível|imped*|proíb*|proib*|lament*|infelizmente|recus*|declin*|abst*|"
        "além|fora|viola*|evitar|evito|negar|nem",
        "do": "descrever*|descrevê*|descrição|descrições|comentar|comentário*|identificar|nomear|ajudar|ajudá*|"
        "ajuda|auxiliar|pedido|solicitação|diretrizes|regras|políticas|privacidade|modelo de linguagem|"
        "apenas de texto|inteligência artificial|ia|legenda|tipo de conteúdo|pessoas reais",
        "image": "imagem|imagens|foto|fotos|fotografia|fotografias|arquivo|ficheiro|anexo",
        "weak": "recebi|receb*|chegou|carreg*|olhar|ver|visualizar|abrir|acessar|aceder|acesso|mostrar|envi*|"
        "dizer*|analisar|processar|alcance|anexar|examinar",
        "ask": "por favor|poderia|pode|pode enviar|de novo|novamente|outra vez",
        "model": "modelo de linguagem",
    },
    "nl": {
        "me": "ik|mij|me|mijn|u|uw|je|jouw|jij",
        "no": "niet|niets|geen|zonder|helaas|jammer*|verbied*|verboden|verbiedt|onmogelijk|weiger*|afwijz*|"
        "afslaan|onthoud*|buiten|verhinder*|liever|spijt*|sorry|mis|tegen|ontbreekt|ontbreken",
        "do": "beschrijven|beschrijf|beschrijving|omschrijven|omschrijving|identificeren|benoemen|herkennen of|"
        "helpen|assisteren|verzoek|aanvraag|richtlijnen|regels|beleid|privacy|taalmodel|ai|met tekst|commentaar|"
        "uitspraken|onderschrift|over de mensen|over de personen|soort inhoud|toegestaan om",
        "image": "afbeelding|afbeeldingen|foto|foto's|bestand|beeld|beelden|plaatje|bijlage",
        "weak": "aangekomen|ontvangen|geladen|bekijken|zien|openen|toegang|tonen|sturen|stuur|vertellen|zeggen|"
        "analyseren|verwerken|uploaden|bekeken|inzien",
        "ask": "alstublieft|alsjeblieft|kunt u|kun je|kan je|nog eens|opnieuw|nogmaals",
        "model": "taalmodel",
    },
    "sv": {
        "me": "jag|mig|min|mina|mitt|du|din|ditt|er|ni",
        "no": "inte|ej|ingen|inget|inga|utan|tyvärr|dessvärre|beklag*|ledsen|saknar|saknas|hindr*|förbjud*|"
        "avböj*|neka*|avstå*|utanför|helst|omöjligt|vägra*|bortom|strider|undvik*",
        "do": "beskriva|beskriver|beskrivning|beskrivningar|uttala|kommentera|identifiera|namnge|peka ut|hjälpa|"
        "hjälp|bistå|begäran|förfrågan|riktlinjer|regler|policy|integritet*|språkmodell|ai|bildtext|"
        "hanterar text|sådant innehåll",
        "image": "bild|bilden|bilder|foto|fotot|foton|fil|filen|fotografi*|bilaga",
        "weak": "nått|fått|kommit fram|laddades|ladda*|titta på|se|öppna|åtkomst|visa|skicka*|säga|analysera|"
        "bearbeta|ladda upp|mottagit|granska",
        "ask": "kan du|kan ni|snälla|vänligen|igen|på nytt",
        "model": "språkmodell",
    },
    "da": {
        "me": "jeg|mig|min|mine|mit|du|din|dit",
        "no": "ikke|ingen|intet|uden|desværre|beklag*|ked af|mangler|hindr*|forhindr*|forby*|afvis*|afslå*|"
        "afstå*|ud over|helst|umuligt|nægt*|strider|undgå*|uden for",
        "do": "beskrive|beskriver|beskrivelse|beskrivelser|udtale|kommentere|identificere|navngive|hjælpe|hjælp|"
        "bistå|anmodning|forespørgsel|retningslinjer|regler|politik|privatliv*|sprogmodel|ai|billedtekst|"
        "sådant indhold",
        "image": "billede|billedet|billeder|foto|fotos|fotoet|fil|filen|vedhæft*",
        "weak": "nået|fået|kommet|frem til|indlæst|modtaget|se|åbne|adgang|vise|sende|sige|analysere|behandle|"
        "uploade|kigge på|gennemse",
        "ask": "kan du|vil du|venligst|igen|på ny",
        "model": "sprogmodel",
    },
    "no": {
        "me": "jeg|meg|min|mine|mitt|du|din|ditt",
        "no": "ikke|ingen|ingenting|uten|dessverre|beklag*|lei for|mangler|hindr*|forby*|avslå*|avvis*|avstå*|"
        "utover|helst|umulig|nekt*|strider|bryter|unngå*|utenfor",
        "do": "beskrive|beskriver|beskrivelse|beskrivelser|uttale|kommentere|identifisere|navngi|hjelpe|hjelp|"
        "bistå|forespørsel*|retningslinj*|regler|reglene|personvern*|språkmodell|ki|bildetekst|slikt innhold|"
        "scenen går",
        "image": "bilde|bildet|bilder|foto|fotoet|fil|filen|vedlegg*",
        "weak": "nådd|fått|kommet|frem til|lastet|mottatt|se|åpne|tilgang|vise|sende|si noe|si deg|analysere|"
        "behandle|laste opp|se på",
        "ask": "kan du|vil du|vennligst|igjen|på nytt",
        "model": "språkmodell",
    },
    "fi": {
        "me": "minä|minun|minua|minulle|minulla|minut|en|*ni|*än|voisitko|voitko|aio|olen|pelkään|ohjeeni|sääntöjäni",
        "no": "en|ei|ettei|eivät|ilman|valitettavasti|pahoillani|kiel*|kielt*|hylät*|hylkää*|kieltäydy*|"
        "mahdotonta|puuttuu|mitään|pidättäydy*|ulkopuol*|rikkoo",
        "do": "kuvailla|kuvailemaan|kuvailtavaa|kuvailua|kuvaukse*|kuvausta|kommentoi*|nimeämä*|nimetä|"
        "tunnista*|auttaa|auttamaan|apua|pyyntö*|pyynnö*|ohjeeni|sääntöjäni|sääntöjeni|sääntöni|käytäntö*|"
        "yksityisyy*|kielimalli*|tekoäly*|kuvateksti*",
        "image": "kuva|kuvaa|kuvan|kuvia|kuvasta|kuvien|valokuva*|tiedosto*|liite*",
        "weak": "tullut|saanut|latautu*|ladata|katsoa|katsomaan|nähdä|avata|pääsy*|näyttää|lähettää|lähetä|"
        "sanoa|kertoa|analysoida|käsitellä|näe",
        "ask": "voisitko|voitko|ole hyvä|uudelleen|uudestaan",
        "model": "kielimalli*|tekoälymalli*|tekoälynä",
    },
    "pl": {
        "me": "ja|mi|mnie|mną|mój|moja|moje|moich|mogę|jestem|muszę|wolę|obawiam|nie będę|nie widzę|potrafię|"
        "umiem|pomogę|mam|przykro|przepraszam|możesz|proszę|twoj*|twój|pan|pani|chcę|odmawiam|dziękuję",
        "no": "nie|bez|niestety|żad*|zabrania*|zakaz*|odmow*|odmawia*|odrzuc*|niemożliw*|wolno|przykro|wykracza|"
        "brak*|powstrzym*|narusza*|unika*|ani|poza",
        "do": "opisać|opisywać|opisywania|opisanie|opis|opisu|opisem|komentować|komentarz*|nazywa*|identyfikow*|"
        "zidentyfikow*|rozpozna*|pomóc|pomogę|pomocy|pomagać|prośb*|żądani*|wytyczn*|zasad*|regulamin*|"
        "prywatnoś*|modelem językowym|model językowy|ai|podpis*|tego typu treści|wypowiadać",
        "image": "obraz|obrazu|obrazy|obrazów|obrazek|zdjęcie|zdjęcia|zdjęciu|zdjęć|fotografi*|plik*|załącznik*",
        "weak": "dotarł*|otrzymał*|wczytał*|załadow*|obejrze*|zobaczyć|widzę|otworzyć|dostęp*|wyświetl*|wysłać|"
        "przesłać|powiedzieć|analizować|przetworzyć|przeanalizować",
        "ask": "czy możesz|możesz|proszę|ponownie|jeszcze raz",
        "model": "modelem językowym|model językowy",
    },
    "cs": {
        "me": "já|mě|mi|mně|moje|můj|má|mých|mohu|můžu|nemohu|nemůžu|jsem|nejsem|musím|nemám|nesmím|obávám|"
        "nebudu|nevidím|nepomohu|neumím|neřeknu|vám|váš|vaši|tvůj|můžete|prosím|omlouvám|děkuji|bojím|nechci|"
        "odmítám",
        "no": "ne*|bez|bohužel|žádn*|zakaz*|odmít*|nelze|raději|nad rámec|chybí|mimo|porušuje|zdrž*",
        "do": "popsat|popisovat|popis|popisu|popisování|vyjadřovat|vyjádřit|komentovat|jmenovat|identifikovat|"
        "rozpoznat osoby|pomoci|pomohu|nepomohu|pomoct|pomáhat|žádost*|požadavek|pravidl*|pokyny|zásad*|"
        "soukromí|jazykový model|umělá inteligence|ai|popisek|takový obsah",
        "image": "obrázek|obrázku|obrázky|obraz|fotka|fotku|fotky|fotografi*|soubor*|příloh*|snímek|snímku",
        "weak": "nedorazil*|dorazil*|obdržel*|neobdržel*|nenačet*|načíst|podívat|vidět|nevidím|otevřít|přístup*|"
        "zobrazit|poslat|říct|říci|neřeknu|analyzovat|zpracovat|nahrát",
        "ask": "můžete|můžeš|prosím|znovu|ještě jednou",
        "model": "jazykový model|jazykovým modelem",
    },
    "ru": {
        "me": "я|мне|меня|мной|мой|моя|мои|моих|моё|боюсь|вынужден*|не могу|не буду|прошу|извините|вам|вас|ваш*|"
        "пришлите|загрузите|отправьте|вижу|можете|предпочту|приношу",
        "no": "не|нет|ни|без|увы|нельзя|невозможно|запрещ*|запрет*|откаж*|отказ*|отклон*|воздерж*|выходит за|"
        "недоступн*|нечего|сожале*|жаль|лишён|избега*|нарушает|вне",
        "do": "описать|описывать|описание|описания|описанием|опишу|комментировать|комментари*|называть|опознать|"
        "опознавать|идентифицировать|распознавать людей|помочь|помогу|помощь|запрос*|просьб*|правил*|инструкци*|"
        "политик*|приватност*|конфиденциальност*|языковая модель|языковой моделью|нейросеть|ии|"
        "искусственный интеллект|с текстом|подпись|подобный контент",
        "image": "изображени*|картин*|фото|фотографи*|снимок|снимк*|снимок*|файл*|вложени*",
        "weak": "дошл*|получил*|загруз*|посмотреть|увидеть|вижу|открыть|доступ*|показать|пришлите|прислать|"
        "отправ*|сказать|скажу|просмотреть|анализировать|обработать",
        "ask": "пришлите|отправьте|можете|пожалуйста|ещё раз|еще раз|снова|повторно",
        "model": "языковая модель|языковой моделью|нейросеть",
    },
    "uk": {
        "me": "я|мені|мене|мною|мій|моя|мої|моїх|моє|боюся|мушу|не можу|не буду|перепрошую|вам|вас|ваш*|"
        "надішліть|бачу|можете|волію|вибачте",
        "no": "не|немає|нема|ні|жодн*|без|на жаль|неможливо|заборон*|відмов*|відхил*|утрим*|виходить за|"
        "недоступн*|нічого|шкода|уника*|порушує|поза",
        "do": "описати|описувати|опис|опису|опишу|коментувати|коментар*|називати|впізнавати|ідентифікувати|"
        "розпізнавати людей|допомогти|допоможу|допомога|запит*|прохання|правил*|інструкці*|політик*|приватност*|"
        "конфіденційн*|мовна модель|нейромережа|ші|штучний інтелект|підпис|з текстом",
        "image": "зображен*|картин*|фото|фотографі*|знімок|знімк*|файл*|вкладен*",
        "weak": "дійшл*|отримав*|отримал*|завантаж*|подивитися|побачити|бачу|відкрити|доступ*|показати|"
        "надішліть|надіслати|сказати|скажу|переглянути|аналізувати|обробити",
        "ask": "надішліть|можете|будь ласка|ще раз|знову|повторно",
        "model": "мовна модель|мовною моделлю",
    },
    "tr": {
        "me": "ben|bana|beni|benim|*ım|*im|*um|*üm|*yım|*yim|*ırım|*irim|*mam|*mem|siz|size|dosyanıza|misiniz|"
        "mısınız|*rım",
        "no": "*mam|*mem|*mıyorum|*miyorum|*muyorum|*müyorum|*meyi|*mayı|değil|yok|hiçbir|ne yazık|maalesef|"
        "üzgünüm|*amıyorum|*emiyorum|*amam|*emem|reddet*|yasak*|*mayacağım|*meyeceğim|aykırı|ötesinde|olmadan|"
        "*medi|*madı|engel*|dışında",
        "do": "tarif|tarif et*|betimle*|açıkla*|tanımla*|yorum yap*|yorum|teşhis*|adını söyle*|yardım*|"
        "yardımcı*|istek|isteği|isteğinizi|talep|talebi*|kural*|yönerge*|politika*|ilkeler*|gizlilik|"
        "dil modeli*|yapay zek*|altyazı*",
        "image": "görsel*|fotoğraf*|resim*|resmi*|görüntü*|dosya*",
        "weak": "ulaşma*|alma*|yüklen*|yükle*|bakma|bakamı*|göre*|aça*|erişe*|erişim*|gönder*|söyle*|analiz*|"
        "işle*|görüntüle*",
        "ask": "lütfen|misiniz|mısınız|tekrar|yeniden",
        "model": "dil modeli*",
    },
    "ar": {
        "me": "أنا|لي|لدي|عليّ|علي|مني|بي|يمكنني|أستطيع|أفضل|أفضّل|أخشى|أعتذر|أرى|أملك|أتمكن|لست|لستُ|فلست|تصلني|"
        "إرشاداتي|قواعدي|تمنعني|تمنعن*|*ني|لكنني|أصف|سأصف|أصفها|أصفه|أرفض|أقدر|أود|إليّ|إلي",
        "no": "لا|لم|لن|ليس|ليست|لست|لستُ|فلست|فليس|بدون|دون|غير|عدم|للأسف|الأسف|آسف|عذر*|أعتذر|تمنعن*|يمنعن*|"
        "ممنوع|يحظر|محظور|أرفض|رفض|مستحيل|يتجاوز|يخالف|أمتنع|تعذر|أتجنب",
        "do": "وصف|أصف|أصفه|أصفها|لوصف|بوصف|الوصف|التعليق|تعليق|ذكر أسماء|تحديد هوي*|التعرف على*|هوي*|المساعدة|"
        "مساعدتك|مساعدة|أساعد*|الطلب|طلبك|إرشادات*|قواعد*|سياس*|الخصوصية|لغوي|لغوية|ذكاء اصطناعي|المحتوى",
        "image": "صورة|الصورة|صور|الصور|ملف|ملفك|الملف|مرفق*",
        "weak": "تصلني|وصلتني|استلم*|أستلم|تُحمَّل|تحميل|الاطلاع|للاطلاع|رؤية|أرى|فتح|الوصول|عرض|إرسال*|أقول|تحليل|"
        "معالجة|أشاهد|مشاهدة|ترفق|رفع",
        "ask": "هل يمكنك|من فضلك|يرجى|مرة أخرى|مجددًا|مجددا|الرجاء",
        "model": "نموذج لغوي|نموذجًا لغويًا|كنموذج لغوي",
    },
    "he": {
        "me": "אני|לי|אותי|שלי|אליי|אלי|עליי|עלי|ממני|אוכל|איני|אינני|לצערי|מצטער|מצטערת|תוכל|תוכלי|חושש|חוששת|"
        "בי|נא|אתאר|שלך",
        "no": "לא|אין|איני|אינני|בלי|ללא|אסור|אוסר*|אוסרות|לצערי|מצטער*|מסרב*|לדחות|נמנע*|חורג*|מונע*|בלתי|מפר|"
        "שום|מעדיף",
        "do": "לתאר|מתאר|תיאור|אתאר|להתייחס|לזהות|זיהוי|לנקוב|שמות|לעזור|עזרה|לסייע|בקשה|הבקשה|בקשתך|הנחיות|"
        "ההנחיות|כללים|הכללים|מדיניות|פרטיות|מודל שפה|בינה מלאכותית|כיתוב",
        "image": "תמונה|התמונה|תמונות|בתמונה|שבתמונה|שהתמונה|קובץ|הקובץ|בקובץ|צילום",
        "weak": "הגיעה|הגיע|קיבלתי|נטענה|לטעון|לצפות|לראות|רואה|לפתוח|גישה|להציג|לשלוח|לומר|לנתח|לעבד|להעלות|צורפה",
        "ask": "תוכל|תוכלי|בבקשה|שוב|נא|אנא",
        "model": "מודל שפה|כמודל שפה",
    },
    "fa": {
        "me": "من|مرا|*م",
        "no": "نمی*|نیست*|ندارم|ندارد|نخواهم|نباید|نتوان*|ندهم|نده*|بدون|متأسفانه|متاسفانه|متأسفم|متاسفم|پوزش|"
        "شرمنده|اجازه|هیچ|نرسیده|ناتوان|ممنوع|منع|رد کنم|رد می|فراتر|نشده|خودداری|پرهیز|بر*نمی*",
        "do": "توصیف|شرح|نظر|نظری|نام افراد|شناسایی|تشخیص هویت|هویت|کمک|کمکی|یاری|درخواست|قوانین|دستورالعمل*|"
        "سیاست*|حریم خصوصی|مدل زبانی|هوش مصنوعی|محتوا|محتوای",
        "image": "تصویر*|عکس*|فایل*|پیوست",
        "weak": "نرسیده|رسیده|دریافت|بارگذاری|دیدن|ببینم|می‌بینم|نمی‌بینم|باز کنم|دسترسی|نمایش|بفرستید|ارسال|"
        "بگویم|تحلیل|پردازش",
        "ask": "لطفا|لطفاً|می‌توانید|دوباره|ممکن است",
        "model": "مدل زبانی",
    },
    "id": {
        "me": "saya|aku|kami|anda|kamu",
        "no": "tidak|tak|belum|tanpa|bukan|sayangnya|maaf|menolak|melarang|dilarang|di luar|mustahil|"
        "menghindari|melanggar|mencegah|terbatas|enggan",
        "do": "mendeskripsikan*|deskripsi*|deskripsikan|menggambarkan|menjelaskan gambar|mengomentari|komentar|"
        "mengidentifikasi|identitas|menyebut nama|membantu|bantuan|permintaan|pedoman|aturan|kebijakan|privasi|"
        "model bahasa|ai|kecerdasan buatan|keterangan gambar|konten semacam",
        "image": "gambar|gambarnya|foto|fotonya|berkas|file|citra|lampiran",
        "weak": "terima|menerima|termuat|dimuat|memuat|lihat berkas|melihat gambar|melihat berkas|melihat foto|"
        "membuka|akses|mengakses|menampilkan|mengirim*|kirim*|mengatakan|mengunggah|unggah|menganalisis|"
        "memproses",
        "ask": "bisakah|tolong|mohon|lagi|sekali lagi|silakan",
        "model": "model bahasa",
    },
    "vi": {
        "me": "tôi|mình|chúng tôi|bạn",
        "no": "không|chưa|chẳng|từ chối|cấm|xin lỗi|tiếc|vượt quá|không thể|tránh|ngoài phạm vi|vi phạm|hạn chế|thiếu",
        "do": "mô tả|miêu tả|bình luận|nhận xét|nhận dạng|nêu tên|xác định danh tính|danh tính|giúp được|"
        "giúp bạn|hỗ trợ|yêu cầu này|yêu cầu của bạn|quy định|quy tắc|chính sách|nguyên tắc|riêng tư|"
        "mô hình ngôn ngữ|trí tuệ nhân tạo|ai|chú thích|loại nội dung",
        "image": "hình ảnh|hình|ảnh|bức ảnh|tệp|tập tin|tranh",
        "weak": "nhận được|tải lên|tải được|xem tệp|xem ảnh|xem hình|nhìn thấy hình|nhìn thấy ảnh|truy cập|mở|"
        "hiển thị|gửi|nói gì|nói được|phân tích|xử lý|đính kèm",
        "ask": "vui lòng|làm ơn|gửi lại|lần nữa|xin hãy",
        "model": "mô hình ngôn ngữ",
    },
    "el": {
        "me": "εγώ|μου|με|μένα|εμένα|μπορώ|έχω|είμαι|πρέπει να|προτιμώ|φοβάμαι|ζητώ|λυπάμαι|βλέπω|μπορείτε|σας|"
        "σου|θα την|αδυνατώ|ευχαριστώ|αρνούμαι|θέλω",
        "no": "δεν|δε|μη|μην|χωρίς|δυστυχώς|λυπάμαι|συγγνώμη|απαγορεύ*|αδύνατο*|αδυνατώ|αρνούμαι|απορρίψω|"
        "απορρίπτω|καμία|κανένα*|ξεπερνά|τίποτα|αποφεύγω|παραβιάζει|εκτός|πέρα",
        "do": "περιγράψω|περιγράφω|περιγραφή|περιγραφής|σχολιάσω|σχολιάζω|σχόλιο|σχόλια|κατονομά*|ταυτοποι*|"
        "αναγνωρίσω|αναγνωρίζω|ονομάσω|βοηθήσω|βοήθεια|εξυπηρετήσω|αίτημα*|οδηγίες|κανόνες|πολιτική|πολιτικές|"
        "απορρήτου|ιδιωτικ*|γλωσσικό μοντέλο|τεχνητή νοημοσύνη|λεζάντα",
        "image": "εικόνα|εικόνες|εικόνας|φωτογραφία|φωτογραφίες|φωτογραφίας|αρχείο|συνημμένο",
        "weak": "έφτασε|έλαβα|λάβει|φορτώθηκε|φορτώσει|δω|βλέπω|ανοίξω|πρόσβαση|εμφανίσω|στείλετε|στείλεις|πω|"
        "αναλύσω|επεξεργαστώ|ανεβάσετε",
        "ask": "παρακαλώ|μπορείτε|μπορείς|ξανά|πάλι",
        "model": "γλωσσικό μοντέλο",
    },
    "hu": {
        "me": "én|nekem|engem|hozzám|*hatok|*hetek|tudok|fogom|fogok|látok|szeretnék|*alom|nyilatkozom|*nom|"
        "kérek|attól tartok|módom|irányelveim|szabályaim*|amit szabad|vagyok|önnek|tudná|kérem|tudom|*írhatok|"
        "*em meg|*jam|*jem",
        "no": "nem|nincs|nincsen|semmi*|sem|nélkül|sajnos|sajnálom|elnézést|bocsánat|tilt*|tilos|elutasít*|"
        "visszautasít*|lehetetlen|inkább|túlmegy|megtagad*|tartózkod*|sérti|kívül",
        "do": "leírni|leírás*|leírom|leírjam|leírnom|írhatok le|fogom leírni|nyilatkoz*|kommentál*|megnevez*|"
        "azonosít*|felismer*|segíteni|segítség*|segítek|kérés|kérést|kérését|irányelv*|szabály*|adatvédel*|"
        "magánél*|nyelvi modell*|mesterséges intelligencia|képaláírás*",
        "image": "kép|képet|képek|képeket|képről|fotó|fotót|fotók|fénykép*|fájl*|csatolm*",
        "weak": "érkezett|megérkezett|kaptam|töltődött|betölt*|megnézni|látni|látok|látom|megnyitni|hozzáfér*|"
        "megjelenít*|küldeni|elküldeni|küldené|mondani|elemezni|feldolgozni|feltölt*",
        "ask": "kérem|tudná|tudnád|újra|még egyszer|megismételn*",
        "model": "nyelvi modell*",
    },
    "ro": {
        "me": "eu|mă|mi|îmi|mie|meu|mea|mele|mei|pot|am|trebuie să|prefer|sunt|voi|văd|dumneavoastră|vă|puteți|"
        "ați|poți|doresc",
        "no": "nu|n-am|fără|nicio|niciun|nimic|din păcate|regret|scuze|îmi pare rău|interzic*|imposibil|refuz|"
        "refuza|resping|depășește|încalcă|mă abțin|evit|dincolo|împiedic*",
        "do": "descrie|descriu|a descrie|descrierea|descriere|descrieri|comentez|comenta|comentariu|identific|"
        "identifica|numesc|ajut|ajuta|ajutor|asista|cerere|cererea|solicitare|regulile|reguli|ghidul*|politic*|"
        "confidențialitate|intimitate|model de limbaj|inteligență artificială|ia|legendă|persoane reale",
        "image": "imagine|imaginea|imagini|poză|poza|poze|fotografie|fotografia|fotografii|fișier*|atașament*",
        "weak": "parvenit|primit|încărcat|încărca|văd|vedea|deschide|deschid|accesa|acces|afișa|trimite|"
        "trimiteți|spune|analiza|procesa|atașa*",
        "ask": "vă rog|puteți|poți|din nou|încă o dată",
        "model": "model de limbaj|model lingvistic",
    },
}

JOINED = {
    "hi": {
        "me": "मैं|मुझे|मुझसे|मुझ |मेरे|मेरी|मेरा|आप |आपकी|कृपया|हम ",
        "no": "नहीं|बिना|खेद|क्षमा|माफ़|माफ|दुर्भाग्य|मना|रोकत|अस्वीकार|असमर्थ|असंभव|बाहर|कोई तस्वीर|विरुद्ध|वर्जित|इनकार",
        "do": "वर्णन|विवरण|टिप्पणी|पहचान|नाम बता|मदद|सहायता|अनुरोध|दिशानिर्देश|दिशा-निर्देश|नियमों|नीति|गोपनीयता|"
        "भाषा मॉडल|एआई|कृत्रिम बुद्धि|शीर्षक लिख",
        "image": "तस्वीर|चित्र|छवि|फ़ोटो|फोटो|फ़ाइल|फाइल|इमेज",
        "weak": "पहुँची|मिली|प्राप्त|लोड|देख सकत|देख पा|देखने का|खोल|भेज|बता|अपलोड|विश्लेषण",
        "ask": "कृपया|दोबारा|फिर से",
        "model": "भाषा मॉडल",
    },
    "bn": {
        "me": "আমি|আমার|আমাকে|আপনি|আপনার|অনুগ্রহ",
        "no": "না|নেই|নি,|নি।|ছাড়া|দুঃখিত|দুর্ভাগ্য|নিষেধ|প্রত্যাখ্যান|অক্ষম|অসম্ভব|বাইরে|বিরত|অস্বীকার",
        "do": "বর্ণনা|মন্তব্য|শনাক্ত|চিহ্নিত|নাম বল|সাহায্য|সহায়তা|অনুরোধ|নির্দেশিকা|নিয়ম|নীতি|গোপনীয়তা|ভাষা মডেল|এআই|কৃত্রিম বুদ্ধিমত্তা",
        "image": "ছবি|চিত্র|ফাইল|ফটো",
        "weak": "পৌঁছা|পাইনি|পাই না|লোড|দেখতে পার|দেখার কোনো|দেখতে পাই না|খুলতে|পাঠা|বলতে পার|আপলোড|বিশ্লেষণ",
        "ask": "অনুগ্রহ|আবার|দয়া করে",
        "model": "ভাষা মডেল",
    },
    "th": {
        "me": "ฉัน|ผม|ดิฉัน|เรา|คุณ|กรุณา",
        "no": "ไม่|ขอโทษ|ขออภัย|เสียใจ|น่าเสียดาย|ห้าม|ปฏิเสธ|เกินกว่า|หลีกเลี่ยง|ยังไม่|งด|ขัดกับ|นอกเหนือ",
        "do": "บรรยาย|อธิบาย|แสดงความคิดเห็น|ให้ความเห็น|ระบุชื่อ|ระบุตัว|ช่วยเหลือ|ช่วยไม่ได้|ช่วยได้|คำขอ|แนวทาง|นโยบาย|"
        "กฎของ|ความเป็นส่วนตัว|โมเดลภาษา|แบบจำลองภาษา|ปัญญาประดิษฐ์|คำบรรยาย",
        "image": "ภาพ|รูป|ไฟล์",
        "weak": "ส่งมา|ได้รับ|โหลด|ดูไฟล์|ดูภาพ|ดูรูป|มองไม่เห็นภาพ|เปิด|เข้าถึง|ส่งใหม่|บอกอะไร|วิเคราะห์|ประมวลผล|อัปโหลด|แนบ",
        "ask": "กรุณา|โปรด|อีกครั้ง|ใหม่อีก",
        "model": "โมเดลภาษา|แบบจำลองภาษา",
    },
    "zh": {
        "me": "我|您|你|本助手|本模型",
        "no": "不|没有|没|无法|未|抱歉|对不起|遗憾|可惜|拒绝|禁止|超出|原谅|避免|违反|难以|谢绝",
        "do": "描述这|描述该|描述它|描述真实|描述任何|描述这个|可以描述|进行描述|提供描述|发表评论|评论图|"
        "说出照片|说出图|姓名|身份|识别人|辨认人|帮不上|帮助您|帮助你|协助|请求|准则|政策|规定|隐私|语言模型|"
        "人工智能|这类内容|此类内容|配文|准确描述",
        "image": "图片|照片|图像|文件|附件|截图",
        "weak": "收到|加载|查看|看见图|看不见图|看到图|看到您|打开|访问|显示|再发|发送|上传|说不出|分析|处理|读取|获取",
        "ask": "能否|请您|请再|请重新|再发|重新上传|麻烦",
        "model": "语言模型",
    },
    "zh-Hant": {
        "me": "我|您|你|本助手|本模型",
        "no": "不|沒有|沒|無法|未|抱歉|對不起|遺憾|可惜|拒絕|禁止|超出|見諒|原諒|避免|違反|難以|謝絕",
        "do": "描述這|描述該|描述它|描述真實|描述任何|可以描述|進行描述|提供描述|發表評論|評論圖|說出照片|"
        "說出圖|姓名|身分|身份|識別人|辨認人|幫不上|幫助您|幫助你|協助|請求|準則|政策|規定|隱私|語言模型|"
        "人工智慧|這類內容|此類內容|配文|準確描述",
        "image": "圖片|照片|圖像|影像|檔案|附件|截圖",
        "weak": "收到|載入|查看|看見圖|看不見圖|看到圖|看到您|打開|存取|顯示|再傳|再發|傳送|上傳|說不出|分析|"
        "處理|讀取|取得",
        "ask": "能否|請您|請再|請重新|再傳|重新上傳|麻煩",
        "model": "語言模型",
    },
    "ja": {
        "me": "ません|いたしかね|控え|お断り|いただ|ください|私は|私に|ございます|できかね|致しかね|お伝え|"
        "申し上げ|ご依頼|こちら",
        "no": "ません|できない|いたしかね|致しかね|控え|お断り|差し控え|禁じ|範囲を超え|残念|恐縮|申し訳|"
        "できかね|遠慮|反する|見えない|ていない|なかった|難しい",
        "do": "説明できる内容|説明でき|説明いた|説明は|描写|コメント|お伝えする|お答え|特定|名前を|身元|お力に|"
        "お手伝い|お役に|ご依頼|ご要望|ガイドライン|規則|ポリシー|プライバシー|言語モデル|人工知能|キャプション",
        "image": "画像|写真|ファイル|イメージ|添付",
        "weak": "届いて|読み込|受け取|見る手段|見ることができ|開く|開け|アクセス|表示でき|送って|送信|"
        "アップロード|申し上げられ|申し上げ|分析|処理|確認でき|拝見",
        "ask": "いただけますか|ください|もう一度|再度",
        "model": "言語モデル",
    },
    "ko": {
        "me": "저는|제 |저에게|제게|드리|드릴|설명할|주시|겠습니다|주세요|부탁드|저로서|말씀",
        "no": "없습니다|않겠|않았|못합|못했|못해|어렵습니다|어렵|거절|금지|벗어납|아쉽게|죄송|양해|유감|제한|"
        "삼가|불가|위반|어긋|수 없",
        "do": "설명할 내용|설명해|설명드|설명은|묘사해|묘사하는|묘사하지|언급하지|언급은|이름을 말|신원|식별|"
        "도와드|도움|요청|지침|규정|정책|개인정보|언어 모델|언어모델|인공지능|캡션|답변",
        "image": "이미지|사진|그림|파일|첨부",
        "weak": "도착|받지|로드|볼 방법|볼 수|보지 못|열 수|접근|표시|보내|말씀드릴|분석|처리|업로드|첨부|확인할",
        "ask": "주시겠|주세요|다시|부탁",
        "model": "언어 모델|언어모델",
    },
}
