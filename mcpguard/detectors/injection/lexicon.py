"""Words that instructions to a model are made of, in several languages, and what can be told of each.

A word means little by itself; `signals` looks for words of several kinds beside one another. Words are kept
without marks, in lower case, with their misspellings by one letter.
"""

from collections.abc import Mapping
from enum import IntFlag
from functools import cache
from typing import Final

from mcpguard.detectors.injection.normal import folded

__all__ = ["Kind", "lexicon"]


class Kind(IntFlag):
    """What a word may be there for."""

    NONE = 0
    DROP = 1
    """ignore, forget"""
    RULES = 2
    """instructions, prompt"""
    EARLIER = 4
    """previous, above"""
    ALL = 8
    """all, any, every"""
    YOUR = 16
    NOT = 32
    """do not, never, without"""
    FOLLOW = 64
    TELL = 128
    """tell, mention"""
    PERSON = 256
    """user, human"""
    REVEAL = 512
    """print, repeat"""
    PROMPT = 1024
    """system prompt"""
    SYSTEM = 2048
    """system, hidden, initial"""
    CHANGE = 4096
    """add, insert, misspell: what is done to an answer"""
    ANSWER = 8192
    """response, reply"""
    SEND = 16384
    SECRET = 32768
    CALL = 65536
    """call, use, invoke"""
    MODEL = 131072
    """assistant, ai"""
    CODE = 262144
    THIS = 524288
    """following, subsequent"""
    NEW = 1048576
    """new, additional"""
    EVERYTHING = 2097152
    """everything, said"""
    OWN = 4194304
    """your, and not the"""
    DISTORT = 16777216
    """misspell, scramble: what nobody does to an answer of their own"""
    CLEAR = 8388608
    """drop, reset: what is done to instructions and to many other things"""


_WORDS: Final[Mapping[Kind, str]] = {
    Kind.DROP: """
        ignore disregard forget override overrule bypass neglect discard dismiss omit skip abandon overlook erase
        ignoriere ignorieren ignoriert vergiss vergessen vergesse omiso bortse dikkate missachte missachten verwirf verwerfe ubergehe
        ignora ignorar ignore ignorez ignorer oubliez oublie oublier olvida olvide olvidar olvidate descarta
        omite omitir desconsidere desconsidera esqueca esquece esqueça dimentica dimenticare trascura negeer vergeet
        zignoruj ignoruj zapomnij pomin игнорируй игнорируйте игнорировать проигнорируй забудь забудьте отбрось
        unut yoksay gormezden ignorera glom zaboravi zaboravite ignoriraj ignorirajte zanemari ignoruj zapomen
        abaikan lupakan ignorați uita hagyd felejtsd
        ignoruja проигнорируйте проигнорировать отмени отмените negligez neglige passa ignorad olvidad ignoren olviden sla esquecam ignorem dimenticate ignorate vergeten pominac ignoriere""",
    Kind.RULES: """
        instruction instructions rule rules prompt prompts directive directives command commands order orders
        guideline guidelines guidance constraint constraints restriction restrictions programming assignment
        assignments task tasks directions request requests objective objectives policies safeguards
        anweisung anweisungen befehl befehle befehlen regel regeln vorgaben aufgabe aufgaben auftrag auftrage
        instruktionen aufforderungen instruccion instrucciones orden ordenes regla reglas indicaciones tarea tareas
        consigne consignes instructions directives ordres regles tache taches consignas istruzione istruzioni
        ordini regole comandi compiti instrucao instrucoes instrução instruções ordens regras comandos tarefas
        instructies opdracht opdrachten regels bevelen instrukcje instrukcji polecenia polecen zasady
        инструкции инструкций инструкцию указания указаний правила команды команд приказы задания
        talimat talimatlari talimatlar talimatlarini kurallari instruktioner regler instrukcije instrukcija upute
        naredbe pravila uputstva instrukce pokyny prikazy instruksi perintah aturan instructiunile utasitasokat
        guardrails richtlinien vorschriften norma normas directrices regles recommandations linee direttive indicazioni orientacoes diretrizes richtlijnen poleceniach poleceniami poleceniem wytyczne zasadach указаниях правилам kural kurallar komut komutlari komutlar""",
    Kind.EARLIER: """
        previous prior above earlier preceding former past foregoing aforementioned existing initial original
        before beforehand previously already current old
        vorherigen vorherige vorherigen vorigen vorige bisherigen bisherige obigen obige fruheren vorangegangenen
        vorangehenden vorangegangene zuvor bisher davor vorher anterior anteriores previo previos previas previa antes precedente
        precedentes precedents precedent ci-dessus anterieures anteriore precedenti precedente prima acima
        anteriormente previamente prévias vorige eerdere bovenstaande voorgaande poprzednie poprzednich powyzsze
        wczesniejsze предыдущие предыдущих предыдущую прежние прошлые выше прошлые önceki onceki yukaridaki
        tidigare foregaende prethodne prethodna dosadasnje predchozi sebelumnya anterioare korabbi elozo
        precede sopra finora bisher hierboven eerder dotychczasowe dotychczasowych powyzszych прежде ранее daha yukarida verilen arriba ci-dessus recues jusqu'ici""",
    Kind.ALL: """
        all any every everything whatever alle alles alla todas todos todo toda toutes tous toute tout tutte tutti
        todas alle wszystkie wszystkich все всех всё tum butun alla sve svih vsechny semua toate osszes""",
    Kind.YOUR: """
        your yours you the these those my our deine deinen deiner dein deines ihre ihren die den das diese
        tus tu sus las los tes vos votre vos les ces tue tuoi le gli suas seus teus as os je jouw uw de
        twoje twoich твои твоих ваши ваших свои tvoje tvoja vase""",
    Kind.CLEAR: """
        drop remove abandon leave delete clear reset erase cancel break violate suspend disable void revoke stop overwrite scrap unset
        losche losche streiche streichen elimina borra efface effacez supprime cancella apague usun сбрось удали""",
    Kind.DISTORT: """
        misspell scramble reverse capitalize capitalise uppercase lowercase translate encode encrypt rearrange invert
        shuffle jumble obfuscate randomize anagram swap substitute enhance infuse embed replace""",
    Kind.OWN: """
        your deine deinen deiner deinem dein deines ihre ihren ihrer ihrem tu tus votre vos ta tes ton tua tuo tue
        seu sua suas je jouw uw twoja twojej твой твоем твоём ваш вашем ваши твои tvoj tvoja
        deines seine tuas ton""",
    Kind.NOT: """
        not don't dont do'nt never without avoid cannot can't nicht niemals ohne kein no nunca sin ne pas jamais
        sans non mai senza nao não sem niet nooit zonder nie bez не никогда без değil sakin inte utan nemoj ne nikdy
        jangan tanpa
        keine keinen keiner keines ningun ninguna aucune nessuna nenhuma geen zadnych""",
    Kind.FOLLOW: """
        follow obey adhere comply listen heed consider befolge befolgen beachte beachten folge sigas siga seguir
        suivez suis suivre seguire segui siga seguir volg opvolgen wykonuj следуй следуйте выполняй slusaj
        compte conto cuenta tengas tenere obedezcas obbedire obedeca gehorche""",
    Kind.TELL: """
        tell telling mention mentioning inform informing notify notifying alert alerting disclose disclosing say
        saying report reporting reveal revealing warn warning acknowledge explain announce
        hide conceal sage sagen erwahne erwahnen informiere informieren mitteilen verrate digas decir menciones
        mencionar informes informar avises dites dire mentionnez mentionner informez informer dica dire menzionare
        informare avvisare diga mencione informe vertel vermeld informeer mow wspominaj informuj говори сообщай
        сообщайте упоминай рассказывай soyle bahsetme berätta reci spominji
        conte conta contes sag erzahle erzahl verrat revele comunique comunicare powiedz mow zdradzaj soyleme bildirme""",
    Kind.PERSON: """
        user users human humans operator benutzer benutzern nutzer
        nutzern anwender anwendern usuario usuarios utilisateur utilisateurs utente utenti utilizador gebruiker
        gebruikers uzytkownikowi uzytkownika пользователю пользователя пользователям kullaniciya anvandaren
        korisniku korisnika uzivateli pengguna""",
    Kind.REVEAL: """
        reveal print show repeat output display leak recite disclose reproduce echo list write state tell give
        zeige zeig wiederhole drucke nenne gib muestra muestrame repite imprime revela affiche montre repete
        revele mostra ripeti stampa rivela mostre repita imprima toon herhaal pokaz powtorz wypisz
        покажи выведи повтори раскрой goster yazdir visa upprepa pokazi ponovi
        ujawnij wyjawnij раскройте verrate rivelami revelame revele-moi geef ontsluier acikla goster mostrame mostrami affichez revelez""",
    Kind.PROMPT: """
        prompt prompts instructions instruction anweisungen instrucciones consignes istruzioni instrucoes
        instructies instrukcje промпт инструкции talimatlarini eingabeaufforderung
        systemprompt systemprompts systeemprompt systemowy promptu istemini instructies instrukcjami инструкцию указания talimatlari""",
    Kind.SYSTEM: """
        system hidden initial secret internal original developer systemprompt sistema systeme systeem системный
        ocultas ocultos secretas secretos cachees caches secretes secrete segrete nascoste geheimen geheime verborgene verborgenen verborgen secretas ukryte tajne скрытые секретные тайные gizli escondidas ocultadas""",
    Kind.CHANGE: """
        add include incorporate integrate insert embed append prepend end begin start finish conclude close replace
        remove delete strip reverse translate misspell capitalize capitalise uppercase lowercase rewrite enhance
        render promote emphasize emphasise highlight encode encrypt convert substitute swap group invert transform
        alter modify change mix shuffle jumble scramble obfuscate randomize intersperse sprinkle weave infuse
        conclude sign preface introduce interject punctuate format present write employ feature adopt
        utilize use ensure make consider inject supplement augment reinforce extend omit exclude drop double
        duplicate repeat type spell express phrase craft deliver generate produce create enrich mention recommend
        invite encourage ask remind advertise endorse rearrange combine anagram merge blend fuse leverage tease suggest
        fuge ersetze antworte schreibe schreib beende agrega anade incluye responde escribe termina ajoutez ajoute
        repondez reponds ecrivez ecris terminez aggiungi includi rispondi scrivi adicione inclua responda escreva
        voeg antwoord schrijf dodaj odpowiedz napisz добавь добавьте ответь ответьте напиши""",
    Kind.ANSWER: """
        response responses answer answers reply replies output solution implementation summary translation algorithm codebase
        message conclusion completion antwort antworten ausgabe zusammenfassung respuesta respuestas reponse
        reponses sortie risposta risposte resposta respostas antwoord antwoorden odpowiedz odpowiedzi
        ответ ответы ответе ответа""",
    Kind.SEND: """
        send forward email e-mail mail post upload transmit exfiltrate leak share deliver submit transfer copy
        sende senden schicke schick weiterleiten leite envia enviar envie envoie envoyez envoyer invia inviare
        manda stuur verzend wyslij przeslij отправь отправьте перешли перешлите gonder skicka posalji""",
    Kind.SECRET: """
        password passwords passphrase credential credentials secret secrets apikey token tokens keys cookies cookie
        conversation history contacts ssh passwd env environment confidential private passwort passworter
        zugangsdaten geheimnisse contrasena contrasenas credenciales secretos claves mots passe identifiants
        segreti credenziali senha senhas segredos wachtwoord wachtwoorden hasla hasło пароль пароли секреты
        ключи токен sifre sifreler lozinke""",
    Kind.CALL: """
        call use invoke run execute trigger launch rufe nutze verwende benutze fuhre llama usa ejecuta invoca
        appelle appelez utilise utilisez execute chiama esegui chame execute roep gebruik wywolaj uzyj
        вызови вызовите используй используйте запусти""",
    Kind.MODEL: """
        assistant assistants ai llm llms chatbot agent agents gpt chatgpt claude copilot bot asistente assistent
        assistente asystent ассистент ассистенту""",
    Kind.CODE: "code snippet script block excerpt segment program function fragment passage lines sequence module",
    Kind.THIS: "following subsequent below provided given next ensuing mentioned this accompanying",
    Kind.NEW: "new additional updated real actual urgent neue zusatzliche nueva nuevas nouvelle nouvelles nuove novas nowe новые",
    Kind.EVERYTHING: """
        everything context text conversation messages information details content discussed angaben informationen informacion informations informazioni informacoes said told learned training content input gesagte gesagten
        gesagtes gesagt kontext texte dicho dit detto disse gezegd сказанное сказано говорили сказали all alles todo tout tutto tudo sve
        quanto alles wszystko""",
}

_MISSPELLED: Final = Kind.DROP | Kind.RULES | Kind.EARLIER | Kind.PROMPT | Kind.EVERYTHING
"""Kinds whose words count with one letter wrong, if they are long enough."""

MIN_LENGTH: Final = 6
"""Letters of a word that is recognised with one of them wrong."""

_OTHER_WORDS: Final = """
    ignored ignores ignoring forgets forgot forgotten borders holders wonders skips skipped bypassed bypasses
    overrides overriding overridden dismissed dismisses discarded discards neglected disregarded ordered
    ordering elders orderly rulers basks asks takes masks taste tastes talks request requested requester tasked
    prompted promptly prompter commanded commander directed direction directing bordes ordena ordenar restricted
    projection instructor instructed ordinal originals initials initially originally
"""
"""Words that are not a misspelling of another."""


@cache
def lexicon() -> dict[str, int]:
    """Word -> its kinds. Made on first use."""
    words: dict[str, int] = {}
    for kind, listed in _WORDS.items():
        for word in folded(listed).text.split():
            words[word] = words.get(word, 0) | int(kind)
    others = frozenset(_OTHER_WORDS.split()) | words.keys()
    for word, its in list(words.items()):
        if its & int(_MISSPELLED) and len(word) >= MIN_LENGTH and word.isascii():
            for wrong in _misspellings(word):
                if wrong not in others:
                    words.setdefault(wrong, its & int(_MISSPELLED))
    return words


def _misspellings(word: str) -> set[str]:
    """Every word with one letter left out, put in, wrong, or in its neighbour's place."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    found: set[str] = set()
    for letter in letters:
        found.add(letter + word)
        found.add(word + letter)
    for at in range(1, len(word)):
        found.add(word[:at] + word[at + 1 :])
        found.add(word[:at] + word[at + 1 : at + 2] + word[at] + word[at + 2 :])
        for letter in letters:
            found.add(word[:at] + letter + word[at + 1 :])
            found.add(word[:at] + letter + word[at:])
    found.add(word[1] + word[0] + word[2:])
    found -= {word, word + "s", word + "d"}
    return found
