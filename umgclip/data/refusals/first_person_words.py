"""The words of `first_person.py` by language: `SPACED` has whole words, `JOINED` parts of words.

`me`: the writer or the reader. `no`: negations, inabilities, prohibitions. `do`: the task and its rules. `image`: what
was to be described. `weak`: what should have happened to it. `ask`: a request to do it again. `model`: names of what
writes. `can`: the writer's own abilities and intentions.
"""

from __future__ import annotations

SPACED = {
    "en": {
        "me": "i|i'm|i'd|i'll|i've|me|my|your|you|us|mine|we",
        "no": "not|*n't|cannot|unable|no|nothing|without|refrain*|declin*|avoid*|rather not|sorry|apolog*|"
        "regret*|unfortunately|afraid|beyond|outside|pass on|stay away|keep me|keeps me|keep us|prevent*|"
        "prohibit*|forbid*|forbidden|off the table|off limits|off-limits|missing|lack*|restrict*|refus*|reject*|"
        "abstain*|hesitant|uncomfortable|steer clear|instead of|impossible|violat*|against|only|withhold|skip|"
        "not possible|trouble|corrupt*|damaged|unsure|unwilling|fail*|limited|barred|hard for me|unreadable|"
        "illegible|not right|inappropriate|leave to",
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
        "type of content|such content|this content|privacy|engage with|who is shown|who this is|who that is|"
        "who they are|who it is|who is in|private individual|private person|do for you|do this for you|"
        "do that for you|provide details|give details|details about|describe in words|if you describe|"
        "describe the picture in words|my principles|the topics|discuss|can talk about|information about|"
        "interpretation|answer this|answer that|elaborate|characterise|characterize|caption this|caption it|"
        "assessment of|the photo shows a private|the image shows a private|guess who|to guess|speculat*|medical|"
        "diagnos*|make assumptions|offer an opinion|go into what|go into detail*|assess the person|judge people|"
        "tell who|say who",
        "image": "image|images|picture|pictures|photo|photos|photograph|photographs|file|attachment|attached|"
        "uploaded|upload|visual|link|pictured|visuals|screenshot|graphic",
        "weak": "reached|arriv*|received|receive|see any|see the image|see the picture|see the photo|"
        "see an image|see images|see pictures|view|viewing|open|access|load|loaded|loading|display|displayed|"
        "look at what|look at your|look at the|on my side|on my end|tell you|tell you about|missing|attach*|"
        "upload*|provided|come through|came through|my reach|process|processing|interpret|analyze|analyse|"
        "analyzing|analysing|seeing the|see what|see it|seeing|share|shared|sharing|sent|send|provide|providing|"
        "details|say|work with|referring|mention|mentioned|read|examine|inspect|make out|retrieve|decode|render|"
        "visible to me|in front of me",
        "ask": "please|could you|can you|would you|mind|once more|resend|re-send|re-upload|reupload|first|"
        "happy to help|i'd need|i would need|i need|kindly|let me have|try again",
        "model": "language model|ai model|ai assistant|text-based|text-only",
        "can": "i can|i can't|i cannot|i could|i couldn't|i am able|i'm able|i was able|i am unable|i'm unable|"
        "i was unable|i may|i might|i will|i'll|i won't|i would|i'd|i wouldn't|i am allowed|i'm allowed|"
        "i am not|i'm not|for me to|i must|i should|i shouldn't|i have to|i failed|i do not|i don't|i decline|"
        "i refuse",
    },
    "de": {
        "me": "ich|mir|mich|mein*|ihr|ihre|ihrem|ihren|ihnen|sie bitte|dein*|dir|du|uns",
        "no": "nicht|nichts|kein*|leider|bedauer*|fehlt|verbiet*|verbot*|untersag*|lieber nicht|ohne|unmöglich|"
        "außerstande|ablehn*|lehne|verzicht*|unterlass*|verschlossen|enthalte|verweiger*|außerhalb|hinaus|"
        "hindern|hindert|weder|absehen|sorry|bedaure|unzulässig|nicht möglich|beschädigt|nicht gestattet|"
        "nicht erlaubt|nicht in der lage|schwer|außer|nur|unleserlich|lesbar|überlassen|unangemessen",
        "do": "beschreiben|beschreibe|zu beschreiben|beschreibung|schildern|schilderung|äußern|kommentieren|"
        "kommentar|benennen|identifizieren|identifikation|erkennen oder benennen|helfen|behilflich|weiterhelfen|"
        "unterstützen|anfrage|bitte ablehnen|richtlinie*|vorgaben|leitlinien|datenschutz*|sprachmodell|"
        "textsystem|textmodell|textbasiert*|ki|solche inhalte|solchen inhalten|bildunterschrift|auskunft|"
        "wiedergeben|für dich tun|für sie tun|für dich machen|zu sehen ist darf|wer auf dem|wer das ist|"
        "wer hier|wer diese person|einzelheiten|details|angaben|grundsätze*|prinzipien|anfrage*|themen|"
        "sprechen kann|reden kann|antworten|beantworten|bewerten|einschätzen|solche aufnahmen|preisgeben|"
        "verraten|bezeichnen|raten|spekulier*|medizinische*|diagnos*|mutmaß*|vermutung*|beurteil*|eingehen|"
        "gehe ich|wer sie ist|wer er ist",
        "image": "bild|bilder|bildern|bildes|foto|fotos|datei|aufnahme|anhang|abbildung*",
        "weak": "angekommen|erhalten|empfangen|geladen|laden|anzusehen|ansehen|anschauen|öffnen|sehen kann|"
        "nicht sehen|sagen|zugriff|zugreifen|anzeigen|angezeigt|schicken|senden|hochladen|hochgeladen|"
        "verarbeiten|übermittelt|auswerten|betrachten|einsehen|vorliegen|nennen|teilen|vor mir|lesen|erkennen|"
        "prüfen|bereitstellen|abrufen|empfange|sichtbar",
        "ask": "noch einmal|nochmals|erneut|könnten sie|können sie|kannst du|bitte|zuerst|könntest du|"
        "würden sie|zunächst|brauche|benötige",
        "model": "sprachmodell|textsystem|textmodell|ki-modell|ki-assistent",
        "can": "ich kann|kann ich|ich konnte|konnte ich|ich könnte|könnte ich|ich darf|darf ich|ich durfte|"
        "ich muss|muss ich|ich werde|werde ich|ich will|ich möchte|möchte ich|ich sollte|mir möglich|für mich|"
        "ich vermag|von mir",
    },
    "fr": {
        "me": "je|j'*|me|m'*|moi|mon|ma|mes|nous|vous|votre|m'est",
        "no": "ne|n'*|pas|sans|aucun*|interdi*|malheureusement|hélas|impossible|impossibilité|"
        "l'impossibilité|refus*|déclin*|abst*|m'abstiens|"
        "dépass*|au-delà|désolé*|regret*|défend*|empêch*|ni|évit*|hors de|à l'encontre|contraire*|sort du|"
        "endommag*|rien|seulement|incapable|limité*|échou*|difficil*|illisible|laisser|inapproprié*|n'entrerai",
        "do": "décrire|décris|décrit|la décrire|description|descriptions|commenter|commentaire|nommer|"
        "identifier|d'identifier|l'identité|reconnaître des|aider|vous aider|t'aider|l'aide|demande|requête|"
        "consigne*|mes règles|directives|règles|vie privée|confidentialité|modèle de langage|textuel*|d'ia|l'ia|"
        "ia|légende|ce type de contenu|assister|qui figure|qui apparaît|qui est cette|mes principes|principes|"
        "détails|précisions|dont je peux parler|en parler|discuter|genre d'images|ce type d'images|ce genre|"
        "renseign*|répondre|faire cela pour|divulguer|révéler|apprécier|deviner|spéculer|médica*|médecin|"
        "diagnosti*|supposition*|juger|contenu de cette|contenu de l'image|qui elle est|qui il est",
        "image": "image|images|l'image|d'image|photo|photos|fichier|photographie|pièce jointe|l'illustration|"
        "cliché|visuel|capture|clichés",
        "weak": "parvenu*|reçu*|charg*|regarder|voir|consulter|accéder|accès|ouvrir|afficher|envoy*|renvoy*|"
        "transmis*|dire|visualiser|analyser|traiter|joindre|télécharg*|examiner|sous les yeux|partager|"
        "téléversé*|lire|fournir|détails|devant moi|disponible|distinguer|récupérer",
        "ask": "pourriez-vous|pouvez-vous|peux-tu|veuillez|à nouveau|de nouveau|s'il vous plaît|merci de|"
        "d'abord|pourriez-vous d'abord|il me faudrait|j'aurais besoin|auriez-vous|essayez|réessayez",
        "model": "modèle de langage|modèle linguistique",
        "can": "je peux|je ne peux|je n'ai pas pu|je n'ai pas réussi|je ne pourrai*|je ne pourrais|je puis|"
        "je ne veux|je ne vais|je dois|je ne dois|je ne souhaite|je ne parviens|je n'arrive|je saurais|"
        "je ne saurai*|m'est possible|pour moi|de ma part|je ne suis|je ne ferai|n'ai donc pas pu",
    },
    "es": {
        "me": "yo|me|mi|mis|puedo|debo|tengo|prefiero|temo|soy|estoy|voy|veo|lamento|quiero|he|podría|podrías|"
        "puedes|usted|podré|sé|nos|carezco|quisiera|consigo|quién|pidieron|pedido|logro|dispongo|tu|su|mía",
        "no": "no|sin|ningun*|ningún|nada|imposible|impide*|prohíb*|prohib*|lament*|desgracia|desafortunad*|"
        "carezco|rechaz*|declin*|negar*|abstener*|abstengo|más allá|fuera|infring*|viola*|evitar|evito|niego|"
        "tampoco|limit*|en contra|dañad*|corrupt*|solo|incapaz|difícil|fall*|ni|ilegible|inapropiado|dejarlas|"
        "dejarlo",
        "do": "describir*|descripción|describirla|comentar*|comentario*|nombrar|identificar*|ayudar*|ayuda|"
        "asistir*|petición|solicitud|normas|directrices|pautas|políticas|reglas|privacidad|modelo de lenguaje|"
        "solo texto|inteligencia artificial|ia|pie de foto|tipo de contenido|personas reales|describa|describo|"
        "quién sale|quién aparece|quién es|principios|detalles|hablar|temas|responder|contestar|hacer eso por|"
        "revelar|opinar|valorar|información sobre|este tipo de imágenes|adivinar|especular|médic*|diagn*|"
        "suponer|suposicion*|juzgar|quién es ella",
        "image": "imagen|imágenes|foto|fotos|fotografía|fotografías|archivo|adjunto|fichero|captura",
        "weak": "llegado|llegó|recib*|carg*|mirar|ver|visualizar|abrir|acceder|acceso|mostrar|envi*|contar|"
        "decir*|analizar|procesar|subir*|subiste|alcance|adjuntar|examinar|compartir|subió|subido|abrirlo|"
        "abrirla|leer|dispongo|detalles|dar|proporcionar|delante|distinguir|recuperar",
        "ask": "por favor|podrías|podría|puedes|puede|otra vez|de nuevo|nuevamente|primero|podrías compartir|"
        "necesito|necesitaría|haría falta|prueba|pruebe|intenta|intente",
        "model": "modelo de lenguaje|modelo lingüístico",
        "can": "puedo|pude|podré|podría|he podido|debo|voy a|logro|logré|consigo|conseguí|me es|me resulta|"
        "para mí|por mi parte|quiero|soy capaz|tengo permi*|me permite*|quisiera",
    },
    "it": {
        "me": "io|mi|mio|mia|miei|mie|posso|devo|ho|preferisco|temo|sono spiacente|saprei|so|riesco|potresti|"
        "potrebbe|può inviare|intendo|tuo|tua|suo file|ti|vi|voglio|vorrei|rifiuto|chiesto|nessuno mi|voi|lei|"
        "me",
        "no": "non|senza|nessun*|nulla|niente|impossibile|viet*|impedisc*|sfortunatamente|purtroppo|rifiut*|"
        "declin*|astener*|astengo|oltre|fuori|viola*|evitare|evito|spiacente|contrari*|né|proibi*|contro|esula*|"
        "danneggiat*|corrott*|soltanto|solo|incapace|difficile|neanche|illeggibile|inappropriato|lasciarle|"
        "lasciarlo",
        "do": "descriver*|descrivo|descrizione|descrizioni|commentar*|commento|commenti|identificar*|nominar*|"
        "fare i nomi|aiutar*|aiuto|assister*|richiesta|linee guida|regole|direttive|privacy|modello linguistico|"
        "testuale|intelligenza artificiale|ia|didascalia|tipo di contenuto|persone reali|consentito descrivere|"
        "chi si vede|chi compare|chi è|principi|dettagli|parlare|argomenti|rispondere|fare questo per|rivelare|"
        "informazioni su|immagini di questo tipo|esprimermi|indovinare|speculare|medic*|diagnos*|supposizion*|"
        "giudicare|nel merito|chi sia",
        "image": "immagine|immagini|l'immagine|un'immagine|dell'immagine|all'immagine|foto|fotografia|file|"
        "allegato|scatto|schermata",
        "weak": "arrivat*|ricevut*|caricat*|caricar*|guardare|vedere|visualizzare|aprire|accedere|accesso|"
        "mostrare|inviat*|inviar*|rimandar*|dir*|analizzare|elaborare|portata|allegar*|esaminare|aprirlo|"
        "aprirla|condividere|caricato|leggere|davanti|dettagli|fornire|dare|disponibile|distinguere|recuperare",
        "ask": "per favore|potresti|potrebbe|puoi|di nuovo|nuovamente|ancora|prima|avrei bisogno|mi servirebbe|"
        "ho bisogno|prova|provi",
        "model": "modello linguistico",
        "can": "posso|potuto|riesco|riuscito|riuscita|potrei|potrò|devo|voglio|vorrei|mi è|sono in grado|per me|"
        "da parte mia|mi risulta|intendo|sono autorizzat*",
    },
    "pt": {
        "me": "eu|me|mim|meu|minha|meus|minhas|posso|devo|tenho|prefiro|receio|sou|estou|vou|recebi|consigo|"
        "saberia|sei|você poderia|pode|sua|seu|lhe|quero|recuso|preciso|pediram-me|disponho|foi-me|teu|você|nos",
        "no": "não|sem|nenhum*|nada|impossível|imped*|proíb*|proib*|lament*|infelizmente|recus*|declin*|abst*|"
        "além|fora|viola*|evitar|evito|negar|nem|contra|danificad*|corrompid*|só|apenas|incapaz|difícil|falh*|"
        "ilegível|inapropriado|deixá-las|deixar",
        "do": "descrever*|descrevê*|descrição|descrições|comentar|comentário*|identificar|nomear|ajudar|ajudá*|"
        "ajuda|auxiliar|pedido|solicitação|diretrizes|regras|políticas|privacidade|modelo de linguagem|"
        "apenas de texto|inteligência artificial|ia|legenda|tipo de conteúdo|pessoas reais|descreva|descrevesse|"
        "quem aparece|quem é|princípios|detalhes|falar|assuntos|responder|fazer isso por|revelar|"
        "informações sobre|este tipo de imagem|opinar|adivinhar|especular|médic*|diagn*|suposiç*|julgar|"
        "quem ela é",
        "image": "imagem|imagens|foto|fotos|fotografia|fotografias|arquivo|ficheiro|anexo|captura",
        "weak": "recebi|receb*|chegou|carreg*|olhar|ver|visualizar|abrir|acessar|aceder|acesso|mostrar|envi*|"
        "dizer*|analisar|processar|alcance|anexar|examinar|compartilhar|partilhar|abri-lo|abri-la|ler|disponho|"
        "detalhes|dar|fornecer|diante|à frente|distinguir|recuperar|enviado",
        "ask": "por favor|poderia|pode|pode enviar|de novo|novamente|outra vez|primeiro|preciso|precisaria|"
        "necessito|tente|experimente",
        "model": "modelo de linguagem",
        "can": "posso|pude|poderei|poderia|consigo|consegui|devo|vou|quero|me é|é-me|para mim|da minha parte|"
        "sou capaz|tenho de|pretendo|estou autorizad*",
    },
    "nl": {
        "me": "ik|mij|me|mijn|u|uw|je|jouw|jij|ons|wij",
        "no": "niet|niets|geen|zonder|helaas|jammer*|verbied*|verboden|verbiedt|onmogelijk|weiger*|afwijz*|"
        "afslaan|onthoud*|buiten|verhinder*|liever|spijt*|sorry|mis|tegen|ontbreekt|ontbreken|niet mogelijk|"
        "beschadigd|alleen|niet in staat|moeilijk|mislukt|onleesbaar|overlaten|ongepast",
        "do": "beschrijven|beschrijf|beschrijving|omschrijven|omschrijving|identificeren|benoemen|herkennen of|"
        "helpen|assisteren|verzoek|aanvraag|richtlijnen|regels|beleid|privacy|taalmodel|ai|met tekst|commentaar|"
        "uitspraken|onderschrift|over de mensen|over de personen|soort inhoud|toegestaan om|voor je doen|"
        "voor u doen|wie er op|wie dit is|wie dat is|details|onderwerpen|praten|spreken|antwoorden|beantwoorden|"
        "zulke beelden|prijsgeven|principes|informatie over|beoordelen|raden|raadde|specul*|medisch*|arts|"
        "diagnos*|gissen|oordelen|ga ik|wie zij is",
        "image": "afbeelding|afbeeldingen|foto|foto's|bestand|beeld|beelden|plaatje|bijlage|fotootje|schermafbeelding",
        "weak": "aangekomen|ontvangen|geladen|bekijken|zien|openen|toegang|tonen|sturen|stuur|vertellen|zeggen|"
        "analyseren|verwerken|uploaden|bekeken|inzien|delen|geüpload|krijg het|lezen|voor me|voor mij|details|"
        "geven|beschikbaar|onderscheiden|ophalen",
        "ask": "alstublieft|alsjeblieft|kunt u|kun je|kan je|nog eens|opnieuw|nogmaals|eerst|heb ik nodig|"
        "ik heb nodig|zou u|graag|probeer",
        "model": "taalmodel",
        "can": "ik kan|kan ik|ik kon|kon ik|ik mag|mag ik|ik moet|moet ik|ik zal|ik wil|ga ik|ik ga|voor mij|"
        "ik zou|lukt mij|lukt me",
    },
    "sv": {
        "me": "jag|mig|min|mina|mitt|du|din|ditt|er|ni|oss|vi",
        "no": "inte|ej|ingen|inget|inga|utan|tyvärr|dessvärre|beklag*|ledsen|saknar|saknas|hindr*|förbjud*|"
        "avböj*|neka*|avstå*|utanför|helst|omöjligt|vägra*|bortom|strider|undvik*|inte möjligt|skadad|bara|"
        "oförmögen|svårt|misslyckas|endast|oläslig*|överlåta|olämpligt",
        "do": "beskriva|beskriver|beskrivning|beskrivningar|uttala|kommentera|identifiera|namnge|peka ut|hjälpa|"
        "hjälp|bistå|begäran|förfrågan|riktlinjer|regler|policy|integritet*|språkmodell|ai|bildtext|"
        "hanterar text|sådant innehåll|göra för dig|vem som syns|vem det är|vilka som|detaljer|prata om|tala om|"
        "svara|sådana bilder|avslöja|principer|ämnen|uppgifter om|bedöma|gissa|spekuler*|medicinska|läkare|"
        "diagnos*|går inte in|vem hon är",
        "image": "bild|bilden|bilder|foto|fotot|foton|fil|filen|fotografi*|bilaga",
        "weak": "nått|fått|kommit fram|laddades|ladda*|titta på|se|öppna|åtkomst|visa|skicka*|säga|analysera|"
        "bearbeta|ladda upp|mottagit|granska|dela|laddades upp|öppna den|läsa|framför mig|detaljer|ge|"
        "tillgänglig|urskilja|hämta",
        "ask": "kan du|kan ni|snälla|vänligen|igen|på nytt|först|behöver|skulle du|prova|försök",
        "model": "språkmodell",
        "can": "jag kan|kan jag|jag kunde|kunde jag|jag får|får jag|jag måste|måste jag|jag ska|jag vill|"
        "jag tänker|för mig|av mig|jag lyckas|jag lyckades",
    },
    "da": {
        "me": "jeg|mig|min|mine|mit|du|din|dit|os|vi",
        "no": "ikke|ingen|intet|uden|desværre|beklag*|ked af|mangler|hindr*|forhindr*|forby*|afvis*|afslå*|"
        "afstå*|ud over|helst|umuligt|nægt*|strider|undgå*|uden for|ikke muligt|beskadiget|kun|ude af stand|"
        "svært|mislyk*|ulæselig*|overlade|upassende",
        "do": "beskrive|beskriver|beskrivelse|beskrivelser|udtale|kommentere|identificere|navngive|hjælpe|hjælp|"
        "bistå|anmodning|forespørgsel|retningslinjer|regler|politik|privatliv*|sprogmodel|ai|billedtekst|"
        "sådant indhold|gøre for dig|hvem der ses|hvem det er|detaljer|tale om|snakke om|svare|"
        "den slags billeder|afsløre|principper|emner|oplysninger om|vurdere|gætte|spekuler*|medicinske|læge|"
        "diagnos*|bedømme|går ikke ind|hvem hun er",
        "image": "billede|billedet|billeder|foto|fotos|fotoet|fil|filen|vedhæft*",
        "weak": "nået|fået|kommet|frem til|indlæst|modtaget|se|åbne|adgang|vise|sende|sige|analysere|behandle|"
        "uploade|kigge på|gennemse|dele|uploadet|åbne den|læse|foran mig|detaljer|give|tilgængelig|skelne|hente",
        "ask": "kan du|vil du|venligst|igen|på ny|først|har brug for|behøver|prøv",
        "model": "sprogmodel",
        "can": "jeg kan|kan jeg|jeg kunne|kunne jeg|jeg må|må jeg|jeg skal|jeg vil|vil jeg|for mig|af mig|"
        "jeg formår|jeg bør",
    },
    "no": {
        "me": "jeg|meg|min|mine|mitt|du|din|ditt|oss|vi",
        "no": "ikke|ingen|ingenting|uten|dessverre|beklag*|lei for|mangler|hindr*|forby*|avslå*|avvis*|avstå*|"
        "utover|helst|umulig|nekt*|strider|bryter|unngå*|utenfor|ikke mulig|skadet|bare|kun|ute av stand|"
        "vanskelig|mislyk*|uleselig*|overlate|upassende",
        "do": "beskrive|beskriver|beskrivelse|beskrivelser|uttale|kommentere|identifisere|navngi|hjelpe|hjelp|"
        "bistå|forespørsel*|retningslinj*|regler|reglene|personvern*|språkmodell|ki|bildetekst|slikt innhold|"
        "scenen går|gjøre for deg|hvem som vises|hvem det er|detaljer|snakke om|prate om|svare|slike bilder|"
        "avsløre|prinsipper|temaer|opplysninger om|vurdere|gjette|spekuler*|medisinske|lege|diagnos*|bedømme|"
        "går ikke inn|hvem hun er",
        "image": "bilde|bildet|bilder|foto|fotoet|fil|filen|vedlegg*",
        "weak": "nådd|fått|kommet|frem til|lastet|mottatt|se|åpne|tilgang|vise|sende|si noe|si deg|analysere|"
        "behandle|laste opp|se på|dele|lastet opp|åpnet|lese|foran meg|detaljer|gi|tilgjengelig|skille|hente|"
        "får jeg ikke si",
        "ask": "kan du|vil du|vennligst|igjen|på nytt|først|trenger|behøver|prøv",
        "model": "språkmodell",
        "can": "jeg kan|kan jeg|jeg kunne|kunne jeg|jeg får|får jeg|jeg må|må jeg|jeg skal|jeg vil|vil jeg|"
        "for meg|av meg|jeg klarte|jeg klarer|jeg bør",
    },
    "fi": {
        "me": "minä|minun|minua|minulle|minulla|minut|en|*ni|*än|voisitko|voitko|aio|olen|pelkään|ohjeeni|"
        "sääntöjäni|enkä|minulta|sinulle|puolestasi|emme|meille|voin|*emme|saan",
        "no": "en|ei|ettei|eivät|ilman|valitettavasti|pahoillani|kiel*|kielt*|hylät*|hylkää*|kieltäydy*|"
        "mahdotonta|puuttuu|mitään|pidättäydy*|ulkopuol*|rikkoo|enkä|vain|vioittun*|mahdollis*|kykene*|"
        "epäonnist*|emme|olemaan|lukukelvoton|jätettävä|sopimatonta",
        "do": "kuvailla|kuvailemaan|kuvailtavaa|kuvailua|kuvaukse*|kuvausta|kommentoi*|nimeämä*|nimetä|"
        "tunnista*|auttaa|auttamaan|apua|pyyntö*|pyynnö*|ohjeeni|sääntöjäni|sääntöjeni|sääntöni|käytäntö*|"
        "yksityisyy*|kielimalli*|tekoäly*|kuvateksti*|tehdä puolestasi|kuka kuvassa|kuka valokuvassa|"
        "henkilöllisyy*|yksityiskoht*|puhua|keskustella|aihe*|vastata|kuvailematta|paljastaa|periaat*|arvioida|"
        "pyydetty|tietoja|arvata|arvailla|spekuloi*|lääket*|lääkäri*|diagnoos*|selostamaan|kuka hän",
        "image": "kuva|kuvaa|kuvan|kuvia|kuvasta|kuvien|valokuva*|tiedosto*|liite*",
        "weak": "tullut|saanut|latautu*|ladata|katsoa|katsomaan|nähdä|avata|pääsy*|näyttää|lähettää|lähetä|"
        "sanoa|kertoa|analysoida|käsitellä|näe|jakaa|avaamaan|lukea|edessäni|ladattu|antaa|saatavilla|erottaa|"
        "hakea",
        "ask": "voisitko|voitko|ole hyvä|uudelleen|uudestaan|ensin|tarvitsen|tarvitsisin|kokeile",
        "model": "kielimalli*|tekoälymalli*|tekoälynä",
        "can": "en voi|en voinut|en pysty|en pystynyt|en saa|en osaa|en kykene|en aio|en onnistunut|en halua|"
        "enkä voi|enkä pysty|minun on|minun ei|en ryhdy|en pystyisi",
    },
    "pl": {
        "me": "ja|mi|mnie|mną|mój|moja|moje|moich|mogę|jestem|muszę|wolę|obawiam|nie będę|nie widzę|potrafię|"
        "umiem|pomogę|mam|przykro|przepraszam|możesz|proszę|twoj*|twój|pan|pani|chcę|odmawiam|dziękuję|ciebie|"
        "tobie|nam|poproszono mnie|mogłabym|mógłbym|mogłem|mogłam|gdybym|jest dla mnie",
        "no": "nie|bez|niestety|żad*|zabrania*|zakaz*|odmow*|odmawia*|odrzuc*|niemożliw*|wolno|przykro|wykracza|"
        "brak*|powstrzym*|narusza*|unika*|ani|poza|tylko|uszkodzon*|niezdoln*|trudno|w stanie|nic|nieczytelny|"
        "zostawić|niewłaściwe",
        "do": "opisać|opisywać|opisywania|opisanie|opis|opisu|opisem|komentować|komentarz*|nazywa*|identyfikow*|"
        "zidentyfikow*|rozpozna*|pomóc|pomogę|pomocy|pomagać|prośb*|żądani*|wytyczn*|zasad*|regulamin*|"
        "prywatnoś*|modelem językowym|model językowy|ai|podpis*|tego typu treści|wypowiadać|zrobić dla|"
        "kto jest na|kto to jest|kim jest|szczegół*|rozmawiać|mówić o|temat*|odpowiedzieć|opisywał*|ujawnia*|"
        "ujawnić|informacji o|ocenić|pryncypi*|dla ciebie zrobić|dla pana zrobić|zgadywać|zgadywał*|spekulow*|"
        "medyczn*|lekarz*|diagnoz*|oceniać|zagłębiać|kim ona",
        "image": "obraz|obrazu|obrazy|obrazów|obrazek|zdjęcie|zdjęcia|zdjęciu|zdjęć|fotografi*|plik*|załącznik*",
        "weak": "dotarł*|otrzymał*|wczytał*|załadow*|obejrze*|zobaczyć|widzę|otworzyć|dostęp*|wyświetl*|wysłać|"
        "przesłać|powiedzieć|analizować|przetworzyć|przeanalizować|udostępni*|przesłan*|odczytać|przed sobą|"
        "szczegół*|podać|dostarczyć|rozróżni*|pobrać",
        "ask": "czy możesz|możesz|proszę|ponownie|jeszcze raz|najpierw|potrzebuję|potrzebowałbym|spróbuj",
        "model": "modelem językowym|model językowy",
        "can": "mogę|mogłem|mogłam|potrafię|jestem w stanie|wolno mi|muszę|udało mi się|będę|chcę|powinienem|"
        "powinnam|dla mnie|umiem",
    },
    "cs": {
        "me": "já|mě|mi|mně|moje|můj|má|mých|mohu|můžu|nemohu|nemůžu|jsem|nejsem|musím|nemám|nesmím|obávám|"
        "nebudu|nevidím|nepomohu|neumím|neřeknu|vám|váš|vaši|tvůj|můžete|prosím|omlouvám|děkuji|bojím|nechci|"
        "odmítám|pro vás|pro tebe|abych|mohl|byl jsem|před sebou|nám",
        "no": "ne*|bez|bohužel|žádn*|zakaz*|odmít*|nelze|raději|nad rámec|chybí|mimo|porušuje|zdrž*|jen|pouze|"
        "poškozen*|není|těžko|nic|nečitelný|přenechat|nevhodné",
        "do": "popsat|popisovat|popis|popisu|popisování|vyjadřovat|vyjádřit|komentovat|jmenovat|identifikovat|"
        "rozpoznat osoby|pomoci|pomohu|nepomohu|pomoct|pomáhat|žádost*|požadavek|pravidl*|pokyny|zásad*|"
        "soukromí|jazykový model|umělá inteligence|ai|popisek|takový obsah|udělat|kdo je na|kdo to je|"
        "podrobnost*|mluvit|hovořit|témat*|odpovědět|nepopis*|prozradit|informace o|posoudit|zásady|požadav*|"
        "uvést|uvedl|hádat|spekulov*|lékař*|diagnóz*|posuzovat|rozebírat",
        "image": "obrázek|obrázku|obrázky|obraz|fotka|fotku|fotky|fotografi*|soubor*|příloh*|snímek|snímku",
        "weak": "nedorazil*|dorazil*|obdržel*|neobdržel*|nenačet*|načíst|podívat|vidět|nevidím|otevřít|přístup*|"
        "zobrazit|poslat|říct|říci|neřeknu|analyzovat|zpracovat|nahrát|sdílet|nahráno|přečíst|před sebou|"
        "podrobnost*|poskytnout|rozeznat|stáhnout|uvedl",
        "ask": "můžete|můžeš|prosím|znovu|ještě jednou|nejdřív|nejprve|potřebuji|potřebuju|zkuste|zkus",
        "model": "jazykový model|jazykovým modelem",
        "can": "mohu|můžu|nemohu|nemůžu|nemohl*|mohl*|nesmím|smím|umím|neumím|musím|budu|nebudu|nechci|"
        "jsem schop*|nejsem schop*|podařilo se mi|nepodařilo se mi|pro mě|ode mě|dokážu|nedokážu",
    },
    "ru": {
        "me": "я|мне|меня|мной|мой|моя|мои|моих|моё|боюсь|вынужден*|не могу|не буду|прошу|извините|вам|вас|ваш*|"
        "пришлите|загрузите|отправьте|вижу|можете|предпочту|приношу|мы|нам|для вас|передо мной|вы",
        "no": "не|нет|ни|без|увы|нельзя|невозможно|запрещ*|запрет*|откаж*|отказ*|отклон*|воздерж*|выходит за|"
        "недоступн*|нечего|сожале*|жаль|лишён|избега*|нарушает|вне|не вправе|только|лишь|повреж*|неспособ*|"
        "трудно|ничего|невозможн*|вправе|неправильно|неразборчив*|оставить|неуместно",
        "do": "описать|описывать|описание|описания|описанием|опишу|комментировать|комментари*|называть|опознать|"
        "опознавать|идентифицировать|распознавать людей|помочь|помогу|помощь|запрос*|просьб*|правил*|инструкци*|"
        "политик*|приватност*|конфиденциальност*|языковая модель|языковой моделью|нейросеть|ии|"
        "искусственный интеллект|с текстом|подпись|подобный контент|сделать для|кто изображ*|кто это|кто на|"
        "подробност*|детали|говорить|обсуждать|тем|темам|ответить|раскрыть|принцип*|сообщить|сведения|оценить|"
        "оценивать|назвать|гадать|угадывать|предполагать|медицинск*|врач*|диагноз*|судить|вдаваться|кто она",
        "image": "изображени*|картин*|фото|фотографи*|снимок|снимк*|снимок*|файл*|вложени*",
        "weak": "дошл*|получил*|загруз*|посмотреть|увидеть|вижу|открыть|доступ*|показать|пришлите|прислать|"
        "отправ*|сказать|скажу|просмотреть|анализировать|обработать|загружено|прочитать|передо мной|подробност*|"
        "предоставить|различить|получить|получается",
        "ask": "пришлите|отправьте|можете|пожалуйста|ещё раз|еще раз|снова|повторно|сначала|сперва|мне нужно|"
        "нужна|попробуйте",
        "model": "языковая модель|языковой моделью|нейросеть",
        "can": "я не могу|не могу|могу|я не смог|не смог|не смогла|не сумел*|мне не удалось|мне не удаётся|"
        "я не буду|не буду|не стану|мне нельзя|я должен|я должна|для меня|с моей стороны|в состоянии|вправе",
    },
    "uk": {
        "me": "я|мені|мене|мною|мій|моя|мої|моїх|моє|боюся|мушу|не можу|не буду|перепрошую|вам|вас|ваш*|"
        "надішліть|бачу|можете|волію|вибачте|ми|нам|для вас|переді мною|ви",
        "no": "не|немає|нема|ні|жодн*|без|на жаль|неможливо|заборон*|відмов*|відхил*|утрим*|виходить за|"
        "недоступн*|нічого|шкода|уника*|порушує|поза|лише|тільки|пошкодж*|нездатн*|важко|неможлив*|не вдається|"
        "неправильно|нерозбірлив*|залишити|недоречно",
        "do": "описати|описувати|опис|опису|опишу|коментувати|коментар*|називати|впізнавати|ідентифікувати|"
        "розпізнавати людей|допомогти|допоможу|допомога|запит*|прохання|правил*|інструкці*|політик*|приватност*|"
        "конфіденційн*|мовна модель|нейромережа|ші|штучний інтелект|підпис|з текстом|зробити для|зробити це|"
        "хто зображ*|хто це|хто на|подробиц*|деталі|говорити|обговорювати|тем|відповісти|розкрити|принцип*|"
        "повідомити|казати|відомості|оцінити|назвати|гадати|вгадувати|припускати|медичн*|лікар*|діагноз*|судити|"
        "заглиблюва*|хто вона",
        "image": "зображен*|картин*|фото|фотографі*|знімок|знімк*|файл*|вкладен*",
        "weak": "дійшл*|отримав*|отримал*|завантаж*|подивитися|побачити|бачу|відкрити|доступ*|показати|"
        "надішліть|надіслати|сказати|скажу|переглянути|аналізувати|обробити|завантажено|прочитати|переді мною|"
        "подробиц*|надати|розрізнити|отримати|вдається",
        "ask": "надішліть|можете|будь ласка|ще раз|знову|повторно|спершу|спочатку|мені потрібно|потрібна|спробуйте",
        "model": "мовна модель|мовною моделлю",
        "can": "я не можу|не можу|можу|я не зміг|не зміг|не змогла|мені не вдалося|мені не вдається|я не буду|"
        "не буду|не стану|мені не можна|я мушу|мушу|для мене|з мого боку|в змозі|не маю права",
    },
    "tr": {
        "me": "ben|bana|beni|benim|*ım|*im|*um|*üm|*yım|*yim|*ırım|*irim|*mam|*mem|siz|size|dosyanıza|misiniz|"
        "mısınız|*rım|benden|bende|önümde|sizin|*rsiniz|*ir misiniz|*abilir misiniz|*mama*|konuşabil*|*ımda|"
        "*dim|*dım|*düm|*dum|*emedim|*amadım",
        "no": "*mam|*mem|*mıyorum|*miyorum|*muyorum|*müyorum|*meyi|*mayı|değil|yok|hiçbir|ne yazık|maalesef|"
        "üzgünüm|*amıyorum|*emiyorum|*amam|*emem|reddet*|yasak*|*mayacağım|*meyeceğim|aykırı|ötesinde|olmadan|"
        "*medi|*madı|engel*|dışında|*mamam|*memem|*madığım|*mediğim|mümkün değil|yalnızca|sadece|bozuk|*amaz|"
        "zor|istenmedi|*yamam|*yemem|okunaksız|doğru olmaz|bırakmalıyım|*amadım|*emedim|*ümedim",
        "do": "tarif|tarif et*|betimle*|açıkla*|tanımla*|yorum yap*|yorum|teşhis*|adını söyle*|yardım*|"
        "yardımcı*|istek|isteği|isteğinizi|talep|talebi*|kural*|yönerge*|politika*|ilkeler*|gizlilik|"
        "dil modeli*|yapay zek*|altyazı*|için yap*|yapamam|kim olduğu*|kimin göründüğü*|ayrıntı*|detay*|"
        "konuşabil*|konu|konular*|cevap*|yanıtla*|anlat*|bilgi ver*|değerlendir*|ilke*|tahmin*|tıbbi|doktor*|"
        "teşhis|yargıla*|girmeyeceğim|kim olduğunu",
        "image": "görsel*|fotoğraf*|resim*|resmi*|görüntü*|dosya*",
        "weak": "ulaşma*|alma*|yüklen*|yükle*|bakma|bakamı*|göre*|aça*|erişe*|erişim*|gönder*|söyle*|analiz*|"
        "işle*|görüntüle*|paylaş*|açam*|oku*|önümde|ayrıntı*|ver*|sağla*|ayırt*|indir*",
        "ask": "lütfen|misiniz|mısınız|tekrar|yeniden|önce|ihtiyacım|deneyin",
        "model": "dil modeli*",
        "can": "*amam|*emem|*amıyorum|*emiyorum|*amadım|*emedim|*mayacağım|*meyeceğim|*malıyım|*meliyim|"
        "*mem doğru|*mam doğru|benim için",
    },
    "ar": {
        "me": "أنا|لي|لدي|عليّ|علي|مني|بي|يمكنني|أستطيع|أفضل|أفضّل|أخشى|أعتذر|أرى|أملك|أتمكن|لست|لستُ|فلست|تصلني|"
        "إرشاداتي|قواعدي|تمنعني|تمنعن*|*ني|لكنني|أصف|سأصف|أصفها|أصفه|أرفض|أقدر|أود|إليّ|إلي|بإمكاني|يسعني|أمامي|"
        "طُلب مني|طلب مني|لنا|نصك|نستطيع|أخمن|أخوض|أتركها|لم أستطع|أستطع",
        "no": "لا|لم|لن|ليس|ليست|لست|لستُ|فلست|فليس|بدون|دون|غير|عدم|للأسف|الأسف|آسف|عذر*|أعتذر|تمنعن*|يمنعن*|"
        "ممنوع|يحظر|محظور|أرفض|رفض|مستحيل|يتجاوز|يخالف|أمتنع|تعذر|أتجنب|ألا|سوى|فقط|خارج|تالف|صعب|غير مقروءة|"
        "أتركها|الصواب|لا يعمل",
        "do": "وصف|أصف|أصفه|أصفها|لوصف|بوصف|الوصف|التعليق|تعليق|ذكر أسماء|تحديد هوي*|التعرف على*|هوي*|المساعدة|"
        "مساعدتك|مساعدة|أساعد*|الطلب|طلبك|إرشادات*|قواعد*|سياس*|الخصوصية|لغوي|لغوية|ذكاء اصطناعي|المحتوى|أفعل|"
        "القيام بذلك|من يظهر|من هو|هوية|تفاصيل|الحديث عن|التحدث|المواضيع|الإجابة|أجيب|كشف|مبادئ*|معلومات عن|"
        "تقييم|أخمن|تخمين|التخمين|الطبية|طبيب|للطبيب|تشخيص|أحكم|أخوض|من هي",
        "image": "صورة|الصورة|صور|الصور|ملف|ملفك|الملف|مرفق*",
        "weak": "تصلني|وصلتني|استلم*|أستلم|تُحمَّل|تحميل|الاطلاع|للاطلاع|رؤية|أرى|فتح|الوصول|عرض|إرسال*|أقول|تحليل|"
        "معالجة|أشاهد|مشاهدة|ترفق|رفع|مشاركة|يُرفع|فتحه|فتحها|قراءة|أمامي|تفاصيل|تقديم|متاح|تمييز",
        "ask": "هل يمكنك|من فضلك|يرجى|مرة أخرى|مجددًا|مجددا|الرجاء|أولًا|أولا|أحتاج|جرّب|جرب",
        "model": "نموذج لغوي|نموذجًا لغويًا|كنموذج لغوي",
        "can": "يمكنني|أستطيع|أستطع|بإمكاني|أتمكن|أقدر|يسعني|يجوز لي|مسموح لي|عليّ|لن أ*|بالنسبة لي|أرغب",
    },
    "he": {
        "me": "אני|לי|אותי|שלי|אליי|אלי|עליי|עלי|ממני|אוכל|איני|אינני|לצערי|מצטער|מצטערת|תוכל|תוכלי|חושש|חוששת|"
        "בי|נא|אתאר|שלך|באפשרותי|בשבילך|התבקשתי|מולי|מצליח|מצליחה|יכול|יכולה|אנחנו|לנו|מצידי|הצלחתי|יכולתי|אכנס|"
        "חייב|חייבת",
        "no": "לא|אין|איני|אינני|בלי|ללא|אסור|אוסר*|אוסרות|לצערי|מצטער*|מסרב*|לדחות|נמנע*|חורג*|מונע*|בלתי|מפר|"
        "שום|מעדיף|רק|פגום|מחוץ|קשה|התבקשתי|לא קריא|להשאיר|נכון|לא עובד",
        "do": "לתאר|מתאר|תיאור|אתאר|להתייחס|לזהות|זיהוי|לנקוב|שמות|לעזור|עזרה|לסייע|בקשה|הבקשה|בקשתך|הנחיות|"
        "ההנחיות|כללים|הכללים|מדיניות|פרטיות|מודל שפה|בינה מלאכותית|כיתוב|לעשות זאת|מי נראה|מי זה|מי מופיע|"
        "פרטים|לדבר|נושאים|לענות|לחשוף|עקרונות|מידע על|להעריך|לומר מי|לנחש|ניחוש|רפואי*|רפואיות|לרופא|אבחון|"
        "לשפוט|אכנס|מי היא",
        "image": "תמונה|התמונה|תמונות|בתמונה|שבתמונה|שהתמונה|קובץ|הקובץ|בקובץ|צילום|שהקובץ|לתמונה|את התמונה",
        "weak": "הגיעה|הגיע|קיבלתי|נטענה|לטעון|לצפות|לראות|רואה|לפתוח|גישה|להציג|לשלוח|לומר|לנתח|לעבד|להעלות|"
        "צורפה|לשתף|הועלה|לקרוא|מולי|פרטים|לתת|לספק|זמין|להבחין",
        "ask": "תוכל|תוכלי|בבקשה|שוב|נא|אנא|קודם|אני צריך|אני צריכה|ראשית|נסה|נסי",
        "model": "מודל שפה|כמודל שפה",
        "can": "יכול|יכולה|יכולתי|אוכל|מסוגל|מסוגלת|הצלחתי|מצליח|מצליחה|באפשרותי|אסור לי|מותר לי|חייב|חייבת|"
        "אני לא|לא אכנס|מצידי|בשבילי",
    },
    "fa": {
        "me": "من|مرا|*م|برایم|برایتان|پیش رویم|از من|ما|*تان",
        "no": "نمی*|نیست*|ندارم|ندارد|نخواهم|نباید|نتوان*|ندهم|نده*|بدون|متأسفانه|متاسفانه|متأسفم|متاسفم|پوزش|"
        "شرمنده|اجازه|هیچ|نرسیده|ناتوان|ممنوع|منع|رد کنم|رد می|فراتر|نشده|خودداری|پرهیز|بر*نمی*|فقط|خراب|"
        "بیرون از|دشوار|ممکن نیست|نکنم|نیست|ناخوانا|خوانا نیست|بسپارم|درست نیست",
        "do": "توصیف|شرح|نظر|نظری|نام افراد|شناسایی|تشخیص هویت|هویت|کمک|کمکی|یاری|درخواست|قوانین|دستورالعمل*|"
        "سیاست*|حریم خصوصی|مدل زبانی|هوش مصنوعی|محتوا|محتوای|انجام دهم|این کار را|جزئیات|جزئیاتی|حرف بزنم|صحبت|"
        "موضوع*|پاسخ|جواب|فاش|اصول|اطلاعات|ارزیابی|توضیح|چه کسی در عکس|چه کسی در تصویر|چه کسی است|حدس|گمان|"
        "پزشکی|پزشک|تشخیص|قضاوت|او کیست|وارد آنچه",
        "image": "تصویر*|عکس*|فایل*|پیوست",
        "weak": "نرسیده|رسیده|دریافت|بارگذاری|دیدن|ببینم|می‌بینم|نمی‌بینم|باز کنم|دسترسی|نمایش|بفرستید|ارسال|"
        "بگویم|تحلیل|پردازش|بازش کنم|خواندن|پیش رو*|جزئیات*|بدهم|ارائه|در دسترس|تشخیص",
        "ask": "لطفا|لطفاً|می‌توانید|دوباره|ممکن است|اول|نیاز دارم|می‌شود|امتحان",
        "model": "مدل زبانی",
        "can": "نمی‌توانم|نتوانستم|توانم|نخواهم|نباید|باید|نمی‌شوم|نمی‌خواهم|برایم|قادر نیستم|اجازه ندارم|مجاز نیستم",
    },
    "id": {
        "me": "saya|aku|kami|anda|kamu|kita|bagi saya|hadapan saya",
        "no": "tidak|tak|belum|tanpa|bukan|sayangnya|maaf|menolak|melarang|dilarang|di luar|mustahil|"
        "menghindari|melanggar|mencegah|terbatas|enggan|hanya|rusak|gagal|tidak mungkin|sulit|"
        "diminta untuk tidak|tidak terbaca|serahkan|tidak pantas",
        "do": "mendeskripsikan*|deskripsi*|deskripsikan|menggambarkan|menjelaskan gambar|mengomentari|komentar|"
        "mengidentifikasi|identitas|menyebut nama|membantu|bantuan|permintaan|pedoman|aturan|kebijakan|privasi|"
        "model bahasa|ai|kecerdasan buatan|keterangan gambar|konten semacam|lakukan untuk|siapa yang tampak|"
        "siapa yang ada|siapa dia|rincian|detail|bicarakan|membahas|topik|menjawab|mengungkap*|prinsip|"
        "informasi tentang|menilai|menebak|menduga|medis|dokter|diagnos*|membahas isi",
        "image": "gambar|gambarnya|foto|fotonya|berkas|file|citra|lampiran|berkasnya|berkas ini",
        "weak": "terima|menerima|termuat|dimuat|memuat|lihat berkas|melihat gambar|melihat berkas|melihat foto|"
        "membuka|akses|mengakses|menampilkan|mengirim*|kirim*|mengatakan|mengunggah|unggah|menganalisis|"
        "memproses|membagikan|bagikan|diunggah|membukanya|membaca|hadapan|rincian|memberikan|tersedia|"
        "membedakan|mengunduh",
        "ask": "bisakah|tolong|mohon|lagi|sekali lagi|silakan|dulu|terlebih dahulu|butuh|perlu|coba|cobalah",
        "model": "model bahasa",
        "can": "saya tidak bisa|saya tidak dapat|saya tidak akan|saya tidak boleh|saya tidak mampu|saya gagal|"
        "saya harus|bagi saya|tidak bisa saya|tidak dapat saya|saya belum bisa|oleh saya",
    },
    "vi": {
        "me": "tôi|mình|chúng tôi|bạn|chúng ta",
        "no": "không|chưa|chẳng|từ chối|cấm|xin lỗi|tiếc|vượt quá|không thể|tránh|ngoài phạm vi|vi phạm|hạn chế|"
        "thiếu|chỉ có|hỏng|ngoài|không có khả năng|khó|không được|không đọc được|để cho|không đúng|"
        "không hoạt động",
        "do": "mô tả|miêu tả|bình luận|nhận xét|nhận dạng|nêu tên|xác định danh tính|danh tính|giúp được|"
        "giúp bạn|hỗ trợ|yêu cầu này|yêu cầu của bạn|quy định|quy tắc|chính sách|nguyên tắc|riêng tư|"
        "mô hình ngôn ngữ|trí tuệ nhân tạo|chú thích|loại nội dung|việc đó|việc này|xuất hiện trong|"
        "người này là|chi tiết về|chủ đề|trả lời|tiết lộ|thông tin về|đánh giá|yêu cầu không|nói ai|"
        "nguyên tắc của|đoán|phỏng đoán|y khoa|bác sĩ|chẩn đoán|phán xét|đi vào nội dung",
        "image": "hình ảnh|hình|ảnh|bức ảnh|tệp|tập tin|tranh",
        "weak": "nhận được|tải lên|tải được|xem tệp|xem ảnh|xem hình|nhìn thấy hình|nhìn thấy ảnh|truy cập|mở|"
        "hiển thị|gửi|nói gì|nói được|phân tích|xử lý|đính kèm|chia sẻ|mở được|đọc|trước mặt|chi tiết|cung cấp|"
        "có sẵn|phân biệt|xem được",
        "ask": "vui lòng|làm ơn|gửi lại|lần nữa|xin hãy|trước không|trước được|tôi cần|hãy thử",
        "model": "mô hình ngôn ngữ",
        "can": "tôi không thể|không thể|tôi sẽ không|tôi chưa thể|tôi không được|được phép|tôi phải|đối với tôi|"
        "tôi không có",
    },
    "el": {
        "me": "εγώ|μου|με|μένα|εμένα|μπορώ|έχω|είμαι|πρέπει να|προτιμώ|φοβάμαι|ζητώ|λυπάμαι|βλέπω|μπορείτε|σας|"
        "σου|θα την|αδυνατώ|ευχαριστώ|αρνούμαι|θέλω|μας|μπροστά μου|ζητήθηκε|σε εσάς|για εσάς|καταφέρνω|"
        "επιτρέπεται|κατάφερα|μπόρεσα|μαντέψω",
        "no": "δεν|δε|μη|μην|χωρίς|δυστυχώς|λυπάμαι|συγγνώμη|απαγορεύ*|αδύνατο*|αδυνατώ|αρνούμαι|απορρίψω|"
        "απορρίπτω|καμία|κανένα*|ξεπερνά|τίποτα|αποφεύγω|παραβιάζει|εκτός|πέρα|μόνο|κατεστραμμέν*|έξω|δύσκολο|"
        "αδυνατ*|ούτε|δυσανάγνωστ*|αφήσω|ακατάλληλο|δεν λειτουργεί",
        "do": "περιγράψω|περιγράφω|περιγραφή|περιγραφής|σχολιάσω|σχολιάζω|σχόλιο|σχόλια|κατονομά*|ταυτοποι*|"
        "αναγνωρίσω|αναγνωρίζω|ονομάσω|βοηθήσω|βοήθεια|εξυπηρετήσω|αίτημα*|οδηγίες|κανόνες|πολιτική|πολιτικές|"
        "απορρήτου|ιδιωτικ*|γλωσσικό μοντέλο|τεχνητή νοημοσύνη|λεζάντα|να το κάνω|ποιος φαίνεται|ποιος είναι|"
        "ποια είναι|λεπτομέρειες|μιλήσω|θέματα|απαντήσω|αποκαλύψω|αρχές|πληροφορίες|αξιολογήσω|αίτημα|"
        "τέτοιες εικόνες|μαντέψω|εικασ*|ιατρικ*|γιατρό|διάγνωση|κρίνω|μπω",
        "image": "εικόνα|εικόνες|εικόνας|φωτογραφία|φωτογραφίες|φωτογραφίας|αρχείο|συνημμένο",
        "weak": "έφτασε|έλαβα|λάβει|φορτώθηκε|φορτώσει|δω|βλέπω|ανοίξω|πρόσβαση|εμφανίσω|στείλετε|στείλεις|πω|"
        "αναλύσω|επεξεργαστώ|ανεβάσετε|μοιραστείτε|ανέβηκε|διαβάσω|μπροστά|λεπτομέρειες|δώσω|παράσχω|διακρίνω|"
        "διαθέσιμ*",
        "ask": "παρακαλώ|μπορείτε|μπορείς|ξανά|πάλι|πρώτα|χρειάζομαι|δοκιμάστε",
        "model": "γλωσσικό μοντέλο",
        "can": "μπορώ|μπόρεσα|μπορέσω|κατάφερα|καταφέρνω|πρέπει να|θα μπω|θέλω|δύναμαι|μου επιτρέπεται|για μένα|"
        "σε θέση",
    },
    "hu": {
        "me": "én|nekem|engem|hozzám|*hatok|*hetek|tudok|fogom|fogok|látok|szeretnék|*alom|nyilatkozom|*nom|"
        "kérek|attól tartok|módom|irányelveim|szabályaim*|amit szabad|vagyok|önnek|tudná|kérem|tudom|*írhatok|"
        "*em meg|*jam|*jem|módomban|előttem|beszélhetek|mondhatom|tehetem|kértek|*hatom|*hetem|minket|láthattam|"
        "találgatnám|megyek|sikerült|hagynom",
        "no": "nem|nincs|nincsen|semmi*|sem|nélkül|sajnos|sajnálom|elnézést|bocsánat|tilt*|tilos|elutasít*|"
        "visszautasít*|lehetetlen|inkább|túlmegy|megtagad*|tartózkod*|sérti|kívül|csak|sérült*|nehéz|képtelen|"
        "ne|olvashatatlan|hagynom|helytelen",
        "do": "leírni|leírás*|leírom|leírjam|leírnom|írhatok le|fogom leírni|nyilatkoz*|kommentál*|megnevez*|"
        "azonosít*|felismer*|segíteni|segítség*|segítek|kérés|kérést|kérését|irányelv*|szabály*|adatvédel*|"
        "magánél*|nyelvi modell*|mesterséges intelligencia|képaláírás*|tehetem meg|ki látható|kicsoda|részlet*|"
        "beszélhetek|beszélni|témák*|témákon|válaszolni|elárul*|alapelv*|információ*|értékel*|írjak le|"
        "megmondhat*|mondhatom meg|találgat*|feltételez*|orvosi|orvosra|diagnózis*|ítélkez*|megyek bele",
        "image": "kép|képet|képek|képeket|képről|fotó|fotót|fotók|fénykép*|fájl*|csatolm*|képhez|képnek|képen",
        "weak": "érkezett|megérkezett|kaptam|töltődött|betölt*|megnézni|látni|látok|látom|megnyitni|hozzáfér*|"
        "megjelenít*|küldeni|elküldeni|küldené|mondani|elemezni|feldolgozni|feltölt*|megosztani|feltöltve|"
        "elolvas*|előttem|részlet*|adni|rendelkezésre|megkülönböztet*|letölt*",
        "ask": "kérem|tudná|tudnád|újra|még egyszer|megismételn*|előbb|először|szükségem|próbáljon|próbálj",
        "model": "nyelvi modell*",
        "can": "tudok|tudtam|tudom|*hatok|*hetek|*hatom|*hetem|*hattam|*hettem|sikerült|fogok|fogom|kell *nom|"
        "kell *nem|nekem|számomra|megyek bele|módomban|szabad",
    },
    "ro": {
        "me": "eu|mă|mi|îmi|mie|meu|mea|mele|mei|pot|am|trebuie să|prefer|sunt|voi|văd|dumneavoastră|vă|puteți|"
        "ați|poți|doresc|reușesc|noi|ne|s-a cerut|am voie|mi s-a",
        "no": "nu|n-am|fără|nicio|niciun|nimic|din păcate|regret|scuze|îmi pare rău|interzic*|imposibil|refuz|"
        "refuza|resping|depășește|încalcă|mă abțin|evit|dincolo|împiedic*|în afara|deteriorat|doar|numai|"
        "incapabil|greu|împotriva|ilizibil*|las|nepotrivit",
        "do": "descrie|descriu|a descrie|descrierea|descriere|descrieri|comentez|comenta|comentariu|identific|"
        "identifica|numesc|ajut|ajuta|ajutor|asista|cerere|cererea|solicitare|regulile|reguli|ghidul*|politic*|"
        "confidențialitate|intimitate|model de limbaj|inteligență artificială|legendă|persoane reale|face asta|"
        "cine apare|cine este|detalii|vorbi|subiectel*|răspund|răspunde|dezvălui|principii*|informații despre|"
        "evalua|astfel de imagini|ghicesc|ghici|specul*|medical*|medic|diagnostic*|judec",
        "image": "imagine|imaginea|imagini|poză|poza|poze|fotografie|fotografia|fotografii|fișier*|atașament*",
        "weak": "parvenit|primit|încărcat|încărca|văd|vedea|deschide|deschid|accesa|acces|afișa|trimite|"
        "trimiteți|spune|analiza|procesa|atașa*|distribui|citi|în față|detalii|oferi|dau|disponibil*|distinge|"
        "descărca",
        "ask": "vă rog|puteți|poți|din nou|încă o dată|mai întâi|am nevoie|ați putea|încercați|încearcă",
        "model": "model de limbaj|model lingvistic",
        "can": "pot|am putut|putea|reușesc|am reușit|trebuie să|voi|vreau|am voie|mi-e|îmi este|pentru mine|"
        "din partea mea|sunt în măsură|doresc",
    },
}

JOINED = {
    "hi": {
        "me": "मैं|मुझे|मुझसे|मुझ |मेरे|मेरी|मेरा|आप |आपकी|कृपया|हम |आपके|आपका|हमें|हमारे",
        "no": "नहीं|बिना|खेद|क्षमा|माफ़|माफ|दुर्भाग्य|मना|रोकत|अस्वीकार|असमर्थ|असंभव|बाहर|कोई तस्वीर|विरुद्ध|वर्जित|"
        "इनकार|केवल|सिर्फ़|संभव नहीं|अनुमति|ख़राब|खराब|कठिन|न कर|अपठनीय|छोड़ने|ठीक नहीं",
        "do": "वर्णन|विवरण|टिप्पणी|पहचान|नाम बता|मदद|सहायता|अनुरोध|दिशानिर्देश|दिशा-निर्देश|नियमों|नीति|गोपनीयता|"
        "भाषा मॉडल|एआई|कृत्रिम बुद्धि|शीर्षक लिख|कौन दिख|कौन है|ब्योरा|ब्यौरा|जानकारी दे|बात कर सकत|विषयों|उत्तर|जवाब|"
        "काम मैं आपके|उजागर|सिद्धांत|मूल्यांकन|अनुमान|चिकित्सा|डॉक्टर|निदान|क्या है, मैं|राय",
        "image": "तस्वीर|चित्र|छवि|फ़ोटो|फोटो|फ़ाइल|फाइल|इमेज",
        "weak": "पहुँची|मिली|प्राप्त|लोड|देख सकत|देख पा|देखने का|खोल|भेज|बता|अपलोड|विश्लेषण|साझा|पढ़|सामने|ब्योरा|उपलब्ध|पहचान",
        "ask": "कृपया|दोबारा|फिर से|पहले|चाहिए|आज़माएँ|कोशिश",
        "model": "भाषा मॉडल",
        "can": "सकता|सकती|सका|सकूँ|पाऊँ|पाता|पाती|पा रहा|जाऊँगा|करूँगा|चाहूँगा|होंगे|मेरे लिए|मुझसे|अनुमति",
    },
    "bn": {
        "me": "আমি|আমার|আমাকে|আপনি|আপনার|অনুগ্রহ|আমাদের|পক্ষে",
        "no": "না|নেই|নি,|নি।|ছাড়া|দুঃখিত|দুর্ভাগ্য|নিষেধ|প্রত্যাখ্যান|অক্ষম|অসম্ভব|বাইরে|বিরত|অস্বীকার|শুধু|অনুমতি|নষ্ট|"
        "সম্ভব নয়|কঠিন|নয়|অপাঠ্য|ছেড়ে|উচিত হবে না",
        "do": "বর্ণনা|মন্তব্য|শনাক্ত|চিহ্নিত|নাম বল|সাহায্য|সহায়তা|অনুরোধ|নির্দেশিকা|নিয়ম|নীতি|গোপনীয়তা|ভাষা মডেল|এআই|"
        "কৃত্রিম বুদ্ধিমত্তা|কে আছেন|কে আছে|বিস্তারিত|কথা বলতে|বিষয়ে|উত্তর|আপনার জন্য|প্রকাশ|মূল্যায়ন|তথ্য|অনুমান|"
        "চিকিৎসা|ডাক্তার|রোগনির্ণয়|মতামত",
        "image": "ছবি|চিত্র|ফাইল|ফটো",
        "weak": "পৌঁছা|পাইনি|পাই না|লোড|দেখতে পার|দেখার কোনো|দেখতে পাই না|খুলতে|পাঠা|বলতে পার|আপলোড|বিশ্লেষণ|শেয়ার|পড়তে|সামনে|উপলব্ধ",
        "ask": "অনুগ্রহ|আবার|দয়া করে|আগে|দরকার|চেষ্টা",
        "model": "ভাষা মডেল",
        "can": "পারি|পারব|পারছি|পারিনি|যাব না|করব না|দেব না|চাই না|উচিত|আমার পক্ষে|অনুমতি",
    },
    "th": {
        "me": "ฉัน|ผม|ดิฉัน|เรา|คุณ|กรุณา|ตรงหน้า",
        "no": "ไม่|ขอโทษ|ขออภัย|เสียใจ|น่าเสียดาย|ห้าม|ปฏิเสธ|เกินกว่า|หลีกเลี่ยง|ยังไม่|งด|ขัดกับ|นอกเหนือ|ไม่ได้|"
        "ไม่อาจ|แค่|เสีย|นอก|ยาก|ให้ไม่|อ่านไม่ออก|ไม่เหมาะ|ต้องให้",
        "do": "บรรยาย|อธิบาย|แสดงความคิดเห็น|ให้ความเห็น|ระบุชื่อ|ระบุตัว|ช่วยเหลือ|ช่วยไม่ได้|ช่วยได้|คำขอ|แนวทาง|นโยบาย|"
        "กฎของ|ความเป็นส่วนตัว|โมเดลภาษา|แบบจำลองภาษา|ปัญญาประดิษฐ์|คำบรรยาย|ทำสิ่งนั้นให้|ใครอยู่ในรูป|ใครอยู่ในภาพ|"
        "เป็นใคร|รายละเอียด|เรื่องที่ฉันพูด|พูดคุย|ตอบ|เปิดเผย|หลักการ|ข้อมูลเกี่ยวกับ|คำขอนี้|ประเมิน|เดา|คาดเดา|"
        "ทางการแพทย์|แพทย์|วินิจฉัย|ตัดสิน|ลงรายละเอียด",
        "image": "ภาพ|รูป|ไฟล์",
        "weak": "ส่งมา|ได้รับ|โหลด|ดูไฟล์|ดูภาพ|ดูรูป|มองไม่เห็นภาพ|เปิด|เข้าถึง|ส่งใหม่|บอกอะไร|วิเคราะห์|ประมวลผล|"
        "อัปโหลด|แนบ|แชร์|เปิดไม่|อ่าน|ตรงหน้า|รายละเอียด|ให้",
        "ask": "กรุณา|โปรด|อีกครั้ง|ใหม่อีก|ก่อน|ต้องการ|ลองใช้|ลองอีก",
        "model": "โมเดลภาษา|แบบจำลองภาษา",
        "can": "ไม่สามารถ|ไม่ได้|ไม่อาจ|จะไม่|ไม่สำเร็จ|ไม่เหมาะ|ไม่ออก|ไม่ควร",
    },
    "zh": {
        "me": "我|您|你|本助手|本模型",
        "no": "不|没有|没|无法|未|抱歉|对不起|遗憾|可惜|拒绝|禁止|超出|原谅|避免|违反|难以|谢绝|没法|不方便|"
        "不便|打不开|损坏|只有|只能|难|不在|失败|被要求不|无法辨认|交给|不合适",
        "do": "描述这|描述该|描述它|描述真实|描述任何|描述这个|可以描述|进行描述|提供描述|发表评论|评论图|"
        "说出照片|说出图|姓名|身份|识别人|辨认人|帮不上|帮助您|帮助你|协助|请求|准则|政策|规定|隐私|语言模型|"
        "人工智能|这类内容|此类内容|配文|准确描述|替您|替你|为您做|透露|细节|详情|谈论|话题|回答|原则|这样的图|"
        "这类图|此类图|评价|评估|告知|信息|照片里是谁|图中是谁|图里是谁|这是谁|他是谁|她是谁|来猜|猜测|推测|"
        "医学|医生|诊断|评判|细说|生成说明",
        "image": "图片|照片|图像|文件|附件|截图",
        "weak": "收到|加载|查看|看见图|看不见图|看到图|看到您|打开|访问|显示|再发|发送|上传|说不出|分析|处理|"
        "读取|获取|分享|打不开|读|面前|细节|提供|下载|辨别|这里只",
        "ask": "能否|请您|请再|请重新|再发|重新上传|麻烦|可以先|先分享|需要您|需要你|请换",
        "model": "语言模型",
        "can": "我不能|我无法|我不会|我未能|我没能|我不可以|我不便|我没法|我必须|由我来|我不打算|我无权|"
        "我没有办法|我就不|我不宜",
    },
    "zh-Hant": {
        "me": "我|您|你|本助手|本模型",
        "no": "不|沒有|沒|無法|未|抱歉|對不起|遺憾|可惜|拒絕|禁止|超出|見諒|原諒|避免|違反|難以|謝絕|沒法|"
        "不方便|不便|打不開|損壞|只有|只能|難|不在|失敗|被要求不|無法辨認|交給|不合適",
        "do": "描述這|描述該|描述它|描述真實|描述任何|可以描述|進行描述|提供描述|發表評論|評論圖|說出照片|"
        "說出圖|姓名|身分|身份|識別人|辨認人|幫不上|幫助您|幫助你|協助|請求|準則|政策|規定|隱私|語言模型|"
        "人工智慧|這類內容|此類內容|配文|準確描述|替您|替你|為您做|透露|細節|詳情|談論|話題|回答|原則|這樣的圖|"
        "這類圖|此類圖|評價|評估|告知|資訊|照片裡是誰|圖中是誰|圖裡是誰|這是誰|他是誰|她是誰|來猜|猜測|推測|"
        "醫學|醫生|診斷|評判|細說|產生說明",
        "image": "圖片|照片|圖像|影像|檔案|附件|截圖",
        "weak": "收到|載入|查看|看見圖|看不見圖|看到圖|看到您|打開|存取|顯示|再傳|再發|傳送|上傳|說不出|分析|"
        "處理|讀取|取得|分享|打不開|讀|面前|細節|提供|下載|辨別|這裡只|先分享",
        "ask": "能否|請您|請再|請重新|再傳|重新上傳|麻煩|可以先|先分享|需要您|需要你|請換",
        "model": "語言模型",
        "can": "我不能|我無法|我不會|我未能|我沒能|我不可以|我不便|我沒法|我必須|由我來|我不打算|我無權|"
        "我沒有辦法|我就不|我不宜",
    },
    "ja": {
        "me": "ません|いたしかね|控え|お断り|いただ|ください|私は|私に|ございます|できかね|致しかね|お伝え|"
        "申し上げ|ご依頼|こちら|指示されて|お応え|手元|よう指示|できません|お話し|読み取れません|"
        "なければなりません|ておきます|適切では",
        "no": "ません|できない|いたしかね|致しかね|控え|お断り|差し控え|禁じ|範囲を超え|残念|恐縮|申し訳|"
        "できかね|遠慮|反する|見えない|ていない|なかった|難しい|あいにく|ないよう|壊れ|しか|できず|られません|"
        "ではありません|かねます|難しく|適切では|お任せ|読み取れ",
        "do": "説明できる内容|説明でき|説明いた|説明は|描写|コメント|お伝えする|お答え|特定|名前を|身元|お力に|"
        "お手伝い|お役に|ご依頼|ご要望|ガイドライン|規則|ポリシー|プライバシー|言語モデル|人工知能|キャプション|"
        "お応え|応えできません|誰かは|どなたか|詳細をご|詳細は|お話しでき|ご質問|指示され|開示|情報をご|情報は|"
        "評価は|回答|推測|医療|医師|診断|触れない|中身には",
        "image": "画像|写真|ファイル|イメージ|添付",
        "weak": "届いて|読み込|受け取|見る手段|見ることができ|開く|開け|アクセス|表示でき|送って|送信|"
        "アップロード|申し上げられ|申し上げ|分析|処理|確認でき|拝見|共有|提供する|ご提供|手元|詳細|受信|判別|"
        "見ること",
        "ask": "いただけますか|ください|もう一度|再度|先に|必要です|お試し",
        "model": "言語モデル",
        "can": "できません|できかね|いたしかね|られません|できず|わかりかね|わけにはいきません|"
        "適切ではありません|控え|ておきます|なければなりません",
    },
    "ko": {
        "me": "저는|제 |저에게|제게|드리|드릴|설명할|주시|겠습니다|주세요|부탁드|저로서|말씀|제가|저희|해 드|"
        "네요|습니다|맡겨야",
        "no": "없습니다|않겠|않았|못합|못했|못해|어렵습니다|어렵|거절|금지|벗어납|아쉽게|죄송|양해|유감|제한|"
        "삼가|불가|위반|어긋|수 없|말라는|손상|만 있|아닙니다|불가능|힘들|할 수가|적절하지|맡겨|읽을 수 없",
        "do": "설명할 내용|설명해|설명드|설명은|묘사해|묘사하는|묘사하지|언급하지|언급은|이름을 말|신원|식별|"
        "도와드|도움|요청|지침|규정|정책|개인정보|언어 모델|언어모델|인공지능|캡션|답변|해 드릴|누가 있는지|"
        "누구인지|세부 사항을|세부 정보|자세한 내용|이야기할 수|주제|대답|밝힐|밝히|원칙|정보를 제공|평가해|"
        "지시를|추측|의료|의사에게|진단|다루지|판단",
        "image": "이미지|사진|그림|파일|첨부",
        "weak": "도착|받지|로드|볼 방법|볼 수|보지 못|열 수|접근|표시|보내|말씀드릴|분석|처리|업로드|첨부|"
        "확인할|공유|읽을|제 앞에|세부|제공|판별|확인|이미지가 없",
        "ask": "주시겠|주세요|다시|부탁|먼저|필요합니다|시도해",
        "model": "언어 모델|언어모델",
        "can": "수 없습니다|수 없어|못했습니다|못합니다|않겠습니다|어렵습니다|적절하지|수가 없|안 됩니다|드릴 수 없",
    },
}
