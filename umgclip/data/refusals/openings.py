"""Beginnings and phrases of texts that refuse instead of describing, by language.

`OPENINGS` lists beginnings of whole texts that no caption has, `INABILITY` beginnings of single sentences, and `SELF`
phrases that no caption has anywhere. All are verbose regular expressions, matched without regard to case.
"""

from __future__ import annotations

_IMAGE = r"(image|picture|photo|photograph|attachment|file|visual content)s?"
_SEE = (
    "see|view|access|open|read|load|display|process|analy[sz]e|describe|identify|recogni[sz]e|determine|help|assist|"
    "provide|generate|fulfil+|comply|answer|discuss|comment|interpret|make\\ out|tell|confirm|caption|support|engage"
)
_SERVE = r"(help|assist|comply|fulfil+|caption|describe|analy[sz]e)\b(\ (you|with)\b)?"
# without "I", a sentence refuses only if it is about an image or a request, or has no more than its verb
_OF_THE_TASK = (
    rf"(?=\W*$|[^.!?]*\b({_IMAGE}|request|content|url|link|you|your|(people|persons?|individuals?|faces?)\W*$))"
)

# beginnings of texts that refuse, by language
OPENINGS = {
    "en": rf"""
      ((i'?m|i\ am|we'?re|we\ are)\ ((so|very|really|truly|deeply|terribly)\ )?(sorry|afraid\b(?!\ of)|unable
        |not\ able|not\ allowed|not\ permitted))
    | (i|we)\ (just\ |simply\ |really\ )?(can'?t|cannot|can\ not|could\ ?n[o']t|won'?t|will\ not|am\ not\ able\ to
        |don'?t|do\ not|did\ ?n[o']t)\ ((be\ )?able\ to\ )?(\w+ly\ )?({_SEE}|receive|find\ an?y?|do\ (that|this)
        |have\ (the\ ability|access|an?\ {_IMAGE}|any|enough|permission|information))\b
    | (i|we)\ (just\ |simply\ |really\ )?(must\ decline|have\ to\ decline|apologi[sz]e|regret)
    | (my\ )?(sincere\ )?apologies\b[,.:;!]?\ (but|for|i|we|this|that|the|no)\b
    | (sorry|apologies|unfortunately|regrettably)[,.!]?\ (but\ )?((i|this|that|the\ {_IMAGE}|no|it|there)\b
        |we\ (can'?t|cannot|are))
    | (sorry|apologies)[.!]*$
    | (the\ |your\ |this\ )?(request|access|permission)\ (was\ |is\ |has\ been\ )?(denied|refused|declined|rejected)\W*$
    | (error|failure|warning)\s*(\d+\s*)?:\ (?=.*\b({_IMAGE}|request|timeout|api|content|caption|response)\b)
    | (no|there\ (is|are|was|were)\ no|there'?s\ no|there\ is\ ?n[o']t\ an?)\ {_IMAGE}\ (was|were|is|has
        |have|data|content|provided|given|attached|uploaded|included|shared|visible|to\ (describe|see|view
        |analy[sz]e)|here)\b
    | (no|there\ is\ no|there'?s\ no)\ {_IMAGE}(\ available)?[.!]?$
    | (the\ )?{_IMAGE}\ (not|un)\ ?(available|found|provided|loaded)\W*$
    | (please|could\ you|can\ you|kindly|feel\ free\ to)\ (please\ )?(provide|upload|re-?upload|share|attach
        |send|try)\b(\ \S+){{0,4}}\ ({_IMAGE}|again|details|link|context)\b
    | (unable\ to|cannot|can'?t|can\ not|could\ not)\ ({_SERVE}|({_SEE})\b{_OF_THE_TASK})
    | (the|this|your|that)\ {_IMAGE}\ (you\ \S+\ )?(cannot|can'?t|can\ not|could\ ?n[o']t|failed\ to
        |did\ ?n[o']t|does\ ?n[o']t\ (load|appear|seem|exist|display)|was\ ?n[o']t|is\ ?n[o']t\ (available
        |visible|accessible|displayed|loaded|loading|attached|provided|shown)|is\ (unavailable|inaccessible
        |not\ (available|visible|accessible|displayed|loading|attached|provided)))
    | (it\ (seems|appears|looks\ like)\ (that\ )?|unfortunately,?\ )(there\ (is|was)\ no|there'?s\ no|no|you
        |the)\ (({_IMAGE}\ (was|is|did|could|can|has|not|attached))|forgot|haven'?t|did\ ?n[o']t)
    | (you\ )?(forgot|have\ ?n[o']t|did\ ?n[o']t)\ (to\ )?(attach|upload|provide|share|include)
    | (this|the|your)\ (content|request|{_IMAGE})\ (may\ |might\ |appears\ to\ )?(violates?|is\ against
        |goes\ against|breaches|contains\ (content\ that\ )?violat)
    """,
    "de": r"""
      (die\ |ihre\ )?anfrage\ (wurde\ )?(abgelehnt|verweigert)\W*$
    | fehler\s*:\ .*\b(bild|foto|datei|anfrage)\b
    | (es\ )?tut\ mir\ (sehr\ |wirklich\ )?leid | (ich\ bitte\ um\ )?(entschuldigung|verzeihung)\b[,.!]?(\ |$)
    | (leider|bedauerlicherweise)\ (kann|ist\ es\ mir|sehe|habe|darf|wurde|konnte|liegt|ist\ (das|kein))
    | ich\ (kann|darf|bin)\ (leider\ |hier\ )?(das\ bild|dieses\ bild|die\ datei|dabei|dazu|ihnen|dir|personen
        |kein|keine|nicht)\b
    | ich\ (sehe|habe)\ (leider\ |hier\ |auf\ )?(kein\ (bild|foto)|keine\ (datei|aufnahme)
        |keinen?\ (zugriff|möglichkeit|zugang))
    | ich\ bin\ (nur\ )?(eine?\ )?(ki|künstliche|sprachmodell|nicht\ in\ der\ lage)
    | als\ (eine?\ )?(ki\b|künstliche|sprachmodell|assistent)
    | es\ (wurde|ist|gibt|liegt)\ (leider\ )?kein(e|en)?\ (bild|foto|datei|anhang)
    | (das|dieses)\ (bild|foto)\ (kann|konnte|wird|wurde|ist)\ (leider\ )?nicht
    | bitte\ (laden|stellen|senden|schicken|teilen|lade|fügen)\b
    """,
    "fr": r"""
      (votre\ )?(demande|requête)\ (a\ été\ )?(refusée|rejetée)\W*$
    | erreur\s*:\ .*\b(image|photo|fichier|requête)\b
    | (je\ suis\ )?(vraiment\ )?(désolée?)\b[,.! ] | (toutes\ )?mes\ excuses | je\ m'excuse
    | malheureusement,?\ (je|l'image|il|aucune)
    | je\ ne\ (peux|vois|dispose|parviens|saurais
        |suis\ (malheureusement\ )?pas\ (en\ mesure|capable|autorisée?|habilitée?))\b | je\ n'(arrive|aper
        |y\ (ai|vois|arrive)|ai\ (pas\ (accès|reçu|la\ (possibilité|capacité)|le\ droit)|aucun))
    | en\ tant\ qu(e|')\ ?(ia|intelligence|assistant|modèle)
    | je\ suis\ (une?\ )?(ia|intelligence|modèle|assistant)
    | (il\ n'y\ a|aucune)\ (pas\ d'|aucune\ )?(image|photo)\ (n'a|n'est|jointe|fournie|à)
    | il\ n'y\ a\ (pas\ d'|aucune\ )(image|photo)
    | (l'|cette\ )(image|photo)\ (ne|n'a|n'est)
    | impossible\ (de|d')\ ?(décrire|voir|traiter|afficher|charger|identifier|analyser|accéder|ouvrir)\b
        (?=\W*$|.*\b(images?|photos?|fichiers?|contenu|demande|personnes?)\b)
    | (veuillez|pouvez-vous|merci\ de)\ (me\ )?(fournir|télécharger|joindre|partager|envoyer)
    """,
    "es": r"""
      (su\ |la\ )?(solicitud|petición)\ (ha\ sido\ |fue\ )?(denegada|rechazada)\W*$
    | error\s*:\ .*\b(imagen|foto|archivo|solicitud)\b
    | lo\ (siento|lamento)\b | (mis\ )?disculpas? | (le\ |te\ )?pido\ (disculpas|perdón) | perdón[,.]
    | (desafortunadamente|lamentablemente),?\ (no|la|esta)
    | no\ (puedo|me\ es\ posible|soy\ capaz|tengo\ (acceso|la\ capacidad|permitido)|consigo|logro)\b
    | no\ (veo|hay|se\ ve|encuentro)\ ninguna?\ (imagen|foto|archivo)
    | no\ (hay|se\ ha|se\ puede|se\ pudo|has|ha)\ (imagen|proporcionad|adjuntad|incluid|mostrar|cargar
        |ninguna) | como\ (una?\ )?(ia\b|inteligencia|modelo|asistente)
    | soy\ (una?\ )?(ia\b|inteligencia|modelo|asistente)
    | (la|esta)\ (imagen|foto)\ no\ (se|está|ha|puede|fue) | (por\ favor,?\ )(proporci|sub|adjunt|compart|env)
    """,
    "it": r"""
      (la\ )?richiesta\ (è\ stata\ )?(negata|rifiutata|respinta)\W*$
    | errore\s*:\ .*\b(immagine|foto|file|richiesta)\b
    | mi\ dispiace | (sono\ )?spiacente | (mi\ )?scus(a|i|o|ate)\b[,.! ] | purtroppo,?\ (non|l'immagine)
    | non\ (posso|riesco|sono\ in\ grado|mi\ è\ possibile|ho\ (accesso|la\ capacità))\b
    | non\ (vedo|c'è|è\ stata)\ (alcuna|nessuna|un'|fornita)
    | (come|in\ quanto|sono)\ (un'?\s?)?(ia\b|intelligenza|modello|assistente)
    | nessuna\ (immagine|foto)\ (è|allegata|fornita) | (l'|questa\ )(immagine|foto)\ non\ (può|è|si)
    | impossibile\ (descrivere|vedere|visualizzare|caricare|elaborare)\b
        (?=\W*$|.*\b(immagin[ei]|foto|file|contenut[oi]|richiesta|person[ae])\b)
    | (per\ favore|si\ prega\ di),?\ (fornis|caric|alleg|condivid|invi|forn)
    """,
    "pt": r"""
      (o\ |seu\ )?(pedido|solicitação)\ (foi\ )?(negado|negada|recusado|recusada)\W*$
    | erro\s*:\ .*\b(imagem|foto|arquivo|pedido)\b
    | desculpe?m?\b[,.! ] | (lamento|sinto\ muito)\b | (peço|minhas)\ (desculpas?)
    | infelizmente,?\ (não|a\ imagem|eu)
    | (eu\ )?não\ (posso|consigo|sou\ capaz|me\ é\ possível|tenho\ (acesso|a\ capacidade|permissão))\b
    | (eu\ )?não\ (vejo|há|foi|encontro)\ (nenhuma\ |uma\ )?(imagem|foto|fornecida)
    | (como|sou)\ (uma?\ )?(ia\b|inteligência|modelo|assistente) | nenhuma\ (imagem|foto)\ (foi|anexada)
    | (a|esta|essa)\ (imagem|foto)\ não\ (pôde|pode|foi|está|é\ vis)
    | por\ favor,?\ (forne|envi|compartilh|anex|carreg)
    """,
    "nl": r"""
      (het\ )?spijt\ me | sorry,\ (maar\ )?ik | helaas\ (kan|is|zie|heb)\b
    | ik\ (kan|ben)\ (het|de|deze|geen|niet|helaas|u|je)\b
    | ik\ (zie|heb)\ (helaas\ )?(geen|niet\ de)\ (afbeelding|foto|bestand|toegang|beeld)
    | als\ (een\ )?(ai|taalmodel|kunstmatige)\b
    | er\ is\ geen\ (afbeelding|foto)\ (bij|ge|toe) | de\ (afbeelding|foto)\ (kan|kon)\ niet
    """,
    "pl": r"""
      przepraszam | przykro\ mi | niestety,?\ (nie|obraz) | nie\ (mogę|jestem\ w\ stanie|widzę|udało)\b
    | jako\ (model|sztuczna|asystent|ai)\b
    """,
    "tr": r"""
      üzgünüm | maalesef | kusura\ bakma | (bir\ )?(yapay\ zeka|dil\ modeli)\ olarak
    | (görüntüyü|resmi|fotoğrafı)\ (göremiyorum|açıklayamam)
    """,
    "sv": r"""
      jag\ är\ (verkligen\ )?ledsen | (tyvärr|beklagar),?\ (kan|men|jag)\b
    | jag\ kan\ (tyvärr\ )?inte\b | som\ (en\ )?(ai|språkmodell)\b
    | jag\ (ser|har)\ (tyvärr\ )?(inte|ingen)\ (\w+\ )?(bild|foto|fil|tillgång|åtkomst)
    """,
    "ar": r"""
      (عذرًا|عذراً|عذرا|آسف|آسفة|أعتذر|للأسف|المعذرة)\b | (أنا\ )?لا\ (يمكنني|أستطيع|أرى)\b
    | (بصفتي|كوني|باعتباري)\ (نموذج|ذكاء|مساعد)
    """,
    "hi": r"""
      (क्षमा|माफ़|माफ|खेद) | (मुझे|मैं)\ .{0,40}(नहीं\ (कर\ सकता|कर\ सकती|देख|दे\ सकता)|खेद\ है)
    """,
    "vi": r"""
      (rất\ |tôi\ )?xin\ lỗi\b | rất\ tiếc\b | tôi\ không\ (thể|nhìn|thấy)\b
    """,
    "ru": r"""
      (извини(те)?|прости(те)?|прошу\ прощения|сожалею|к\ сожалению)\b
    | (я\ )?(не\ (могу|вижу|смогу|имею\ доступа)|мне\ (очень\ )?жаль|мне\ не\ удалось)\b
    | (я\ —?\ ?|как\ )(ии|искусственн\w+|языков\w+|нейросет\w+|ассистент)\b
    | (изображение|картинка|фото|фотография)\ (не\b|недоступн)
    | невозможно\ (описать|отобразить|показать|загрузить)\b(?=\W*$|.*\b(изображени|картинк|фото|файл|запрос|люд))
    | пожалуйста,?\ (загрузи|предостав|прикреп|отправ)
    """,
}

# languages without spaces or with words behind the noun: what stands near the beginning decides
OPENINGS_EAST_ASIA = {
    "zh": r"""
      (非常|很|十分)?(抱歉|对不起|對不起|不好意思|遗憾|遺憾)
    | (我|本模型|本助手)?(目前|暂时|現在|现在)?(无法|無法|不能|没有办法|沒有辦法|没办法|看不到|看不見|看不见
        |没有看到
        |沒有看到|没看到)(直接)?(查看|看到|看见|显示|顯示|识别|識別|描述|提供|处理|處理|访问|加载|協助|协助|帮助
        |幫助|回答|满足|判断|分析|打开|任何|您|你|这张|這張|该|此|图|圖)
    | 作为(一个|一名|一款)?(ai|人工智能|语言模型|大模型|助手|模型)
    | 作為(一個|一名)?(ai|人工智慧|語言模型|助手|模型)
    | 我(只)?是(一个|一個|一名)?(ai|人工智能|人工智慧|语言模型|語言模型|助手)
    | (这张|這張|该|此)?(图片|图像|照片|圖片|圖像)(无法|無法|未能|没有|沒有|未|不能)(被)?(正常|成功)?(显示|顯示
        |加载|載入|上传|上傳|提供|查看|打开)
    | 请(您)?(重新)?(提供|上传|发送|附上) | 請(您)?(重新)?(提供|上傳|發送|附上)
    | (您|你)?(没有|沒有|未|尚未)(提供|上传|上傳|附上|发送)(任何)?.{0,4}(图|圖|照片)
    """,
    "ja": r"""
      (大変|誠に)?(申し訳|もうしわけ) | すみません | すいません | ごめん(なさい)? | 恐れ入りますが | 残念ながら
    | (私|わたし)は(ai|人工知能|言語モデル|アシスタント)
    | (ai|人工知能|言語モデル)(として|なので|ですので|であるため)
    | (この|その)?(画像|写真|イメージ)(を|が|は|の内容を)?(表示|認識|確認|見る|見え|読み込|提供|添付
        |アップロード|解析|説明|特定).{0,12}(できません|できない|れていません
        |ません|れなかった|できませんでした)
    | (お手伝い|お答え|説明|対応)(すること)?(は)?(できません|できかねます)
    | (画像|写真)を(添付|アップロード|提供|送信)して
    """,
    "ko": r"""
      (정말\ |대단히\ )?(죄송|미안|유감) | 안타깝게도 | (저는|나는)\ ?(ai|인공지능|인공\ 지능|언어\ ?모델)
    | (ai|인공지능|언어\ ?모델)(로서|이므로|이기|이라)
    | (이|해당|제공된)?\ ?(이미지|사진|그림)(를|을|가|이|에)\ .{0,12}(없습니다|못했습니다|않았습니다|않습니다
        |없어요|못합니다)
    | (도와드릴|도와\ 드릴|설명할|제공할|답변할|설명해\ 드릴)\ 수\ 없 | (이미지|사진)를\ (업로드|첨부|제공)해
    """,
}

# beginnings of sentences about the writer, also after a first sentence that describes
INABILITY = rf"""
      ((i'?m|i\ am)\ (sorry|afraid\b(?!\ of)|unable|not\ able|just\ an?\ (ai|language)|an?\ (ai|language\ model
        |assistant)))
    | (but\ |however,?\ |so\ )?(i|we)\ (can'?t|cannot|can\ not|could\ ?n[o']t|am\ not\ able\ to
        |won'?t)\ ({_SEE})\b
    | (i|we)\ (don'?t|do\ not)\ have\ (the\ ability|access)\b
    | as\ an?\ (ai|artificial|large|language|text|vision|multimodal)\b
"""

# phrases that no caption has, anywhere in it
SELF = r"""
      \bas\ an?\ (ai|artificial\ intelligence|(large\ )?language\ model)\b
    | \b(ai|large|vision)\ language\ model\b | \bi\ am\ an?\ (ai|language\ model)\b
    | (violat\w+|against|breach\w*)\ (\w+\ ){0,3}(content|usage|safety|community)\ (polic(y|ies)|guidelines)
    | ki-?(sprach)?modell | als\ ki\b | modèle\ de\ langage | modelo\ de\ (lenguaje|linguagem)
    | modello\ linguistico | языков\w+\ модел
    | (大?语言模型|大型語言模型|人工智能助手|人工智慧助手|大規模言語モデル|언어\ 모델)
"""
