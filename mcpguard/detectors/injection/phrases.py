"""The phrases and marks that `markup` looks for, with the weight of each, and the words that come with it.

Every quantifier is bounded, and nothing is looked for before a cheap search has found what it must have.
"""

import re
from collections.abc import Set
from itertools import product
from typing import Final, NamedTuple

__all__ = [
    "BEYOND_WORDS",
    "CARRIES",
    "MARKUP",
    "PHRASES",
    "REMOTE",
    "SOLICITING",
    "SOLICITS",
    "TAGS",
    "UNSPACED",
    "Phrase",
]  # fmt: skip


class Phrase(NamedTuple):
    """A phrase that speaks of an injected instruction.

    Args:
        name: The signal's name.
        weight: The signal's weight.
        needs: Sets of words. Every match has one of each.
        marks: Every match has one of these in it, each with the word it begins with, or nothing if that is
            no whole word. Empty: nothing is as common to all.
        pattern: The phrase.
    """

    name: str
    weight: float
    needs: tuple[frozenset[str], ...]
    marks: tuple[tuple[str, tuple[str, ...]], ...]
    pattern: re.Pattern[str]

    def may_be_in(self, text: str, words: Set[str]) -> bool:
        """Whether one of the marks stands in a text that has these words, or there are no marks."""
        for first, marks in self.marks:
            if not first or first in words:
                for mark in marks:
                    if mark in text:
                        return True
        return not self.marks


def phrase(name: str, weight: float, needs: list[str], pattern: str, *marks: str) -> Phrase:
    """A phrase, its needs written as words apart; a mark `a|b ~ c|d` is each of both, side by side."""
    made: dict[str, list[str]] = {}
    for mark in marks:
        firsts, *rest = [side.split("|") for side in mark.split(" ~ ")]
        for first in firsts:
            word = first if rest and first.isalpha() else ""
            made.setdefault(word, []).extend(" ".join((first, *parts)) for parts in product(*rest))
    return Phrase(
        name,
        weight,
        tuple(frozenset(words.split()) for words in needs),
        tuple((word, tuple(its)) for word, its in made.items()),
        re.compile(pattern),
    )


MARKUP: Final[tuple[tuple[str, float, tuple[str, ...], re.Pattern[str]], ...]] = (
    ("chat_tokens", 0.8, ("<|", "inst]", "sys>>", "_of_turn>"),
     re.compile(r"<\|(?:im_start|im_end|system|user|assistant|endoftext|eot_id|start_header_id|end_header_id)[^>\n]{0,30}"
                r"|\[inst\](?=[^\[]{0,400}\[/inst\])|\[/inst\]|<</?sys>>|<(?:start|end)_of_turn>")),
    ("chat_tokens", 0.3, ("[inst]",), re.compile(r"\[inst\]")),
    ("forged_role", 0.7, ("<", "["),
     re.compile(r"<(/?)(?:system|assistant|human|system[_-]?(?:prompt|message|instruction|override)|instructions?|important|"
                r"information|admin|tool_(?:result|response|call)s?|function_(?:results?|calls?)|user_(?:query|message))(?:\s[^<>\n]{0,80})?>"
                r"(?=[^<>]{0,400}?\b(?:you|your|must|please|do not|don't|never|ignore|before|du|sie|vous|usted|tu)\b)"
                r"|\[/?(?:system|assistant|admin(?:istrator)?|developer) (?:message|prompt|override|instruction|note|notice|alert)s?\]"
                r"|\[/?(?:system|assistant|admin(?:istrator)?|developer)\](?=[^\[\]]{0,400}?\b(?:you|your|must|please|do not|don't|never|ignore|before)\b)")),
    ("forged_role", 0.3, ("<",), re.compile(r"</?(?:system|assistant|human|instructions?|important|information)>")),
    ("forged_role", 0.3, ("[",), re.compile(r"\[/?(?:system|assistant|admin(?:istrator)?|developer)\]")),
)  # fmt: skip
"""Name, weight, what a cheap search finds, pattern."""

PHRASES: Final = (
    phrase("forged_role", 0.5, ["system new updated admin", "instruction instructions prompt override message note"],
           r"(?:^|\n)[ \t]*(?:#{2,}|={3,}|-{3,})[ \t]*(?:system|new|updated|admin) (?:instructions?|prompt|override|message|note)\b"
           r"|\bsystem (?:override|prompt override|instruction override)\b",
           "system|new|updated|admin ~ instruction|prompt|override|message|note"),
    phrase("forged_role", 0.3, ["instruction instructions prompt override system"],
           r"(?:^|\n)[ \t]*(?:#{2,}|={3,}|-{3,})[ \t]*(?:instructions?|prompt|override|system)\b[^\n]{0,20}", "##", "===", "---"),
    phrase("forged_role", 0.3, ["system assistant human"],
           r"(?:^|\n)[ \t]*(?:system|assistant|human)(?: (?:message|prompt|note|override))?:[ \t]*\S",
           "system:", "assistant:", "human:", "message:", "prompt:", "note:", "override:"),
    phrase("new_identity", 0.6, ["now", "you"],
           r"\byou(?:'re| are) now (?:a|an|the|in|going|my|called|named|[a-z]+bot|dan|[a-z]+,)\b"
           r"|\bnow,? you are (?!(?:ready|able|done|set|in|on|at|good|finished|free|connected|logged|all|asked|using|left|here|"
           r"prompted|not|also|to|allowed|back|inside|running|looking|seeing|working|presented|given|required|one|up)\b)\w+", "are now", "'re now", "now|now, ~ you are"),
    phrase("new_identity", 0.6, ["jetzt nun", "bist", "du"], r"\b(?:jetzt|nun) bist du\b", "bist du"),
    phrase("new_identity", 0.6, ["mochte will wunsche", "dass"],
           r"\b(?:mochte|will|wunsche)(?: ich)?,? dass (?:sie|du)\b[^.!?\n]{0,80}\b(?:fungier|agier|verhalt)\w*", "dass sie", "dass du"),
    phrase("new_identity", 0.6, ["quiero veux voglio quero", "que che"],
           r"\bquiero que (?:actues|seas|te comportes)\b|\bje veux que (?:tu|vous) (?:agiss|sois|soyez|fass|jou)\w*"
           r"|\bvoglio che tu (?:agisca|sia|ti comporti|faccia)\b|\bquero que voce (?:aja|atue|seja)\b", "quiero que", "veux que", "voglio che", "quero que"),
    phrase("new_identity", 0.6, ["теперь этого", "ты"], r"\bтеперь ты\b|\bс этого момента ты\b|\bты теперь\b"),
    phrase("new_identity", 0.6, ["now", "will"],
           r"\byou will now (?:act|become|respond|behave|play|pretend|be (?:an?|the|my))", "you will now"),
    phrase("new_identity", 0.6, ["now", "from", "on"],
           r"\bfrom now on,? (?:you (?:must|should|are|only|always|never|answer|respond|act|will (?:act|respond|answer|only|always|never|be|speak|reply|behave))|only|always|never|respond|answer|act|speak|reply|ignore|do not)\b", "from now on"),
    phrase("new_identity", 0.6, ["want need like", "you", "behave pretend roleplay act function serve"],
           r"\b(?:want|need|would like|like) you to (?:behave|pretend|roleplay|(?:act|function|serve) as (?:an?|if|the)\b)", " you to "),
    phrase("new_identity", 0.6, ["take assume play adopt", "role persona identity"],
           r"\b(?:take on|assume|play|adopt) the (?:role|persona|identity) of\b", "take on|assume|play|adopt ~ the"),
    phrase("new_identity", 0.6, ["jetzt nun sofort", "bist antworte sollst wirst agierst"],
           r"\bdu bist (?:jetzt|nun)\b|\bab (?:jetzt|sofort) (?:bist|antworte|sollst|wirst|agierst)\b", "du bist", "ab jetzt", "ab sofort"),
    phrase("new_identity", 0.6, ["partir desormais ora agiere"],
           r"\ba partir de (?:ahora|agora),? \w+|\bdesormais,? (?:tu|vous)\b|\bda ora in poi\b|\bagiere als\b"),
    phrase("to_model", 0.6, ["if", "you", "ai i artificial llm language assistant agent chatbot bot automated"],
           r"\bif you(?:'re| are) (?:an? |the )?(?:ai|a\.i\.|artificial|llm|large language|language model|assistant|agent|"
           r"chatbot|bot|automated)\b", "if you"),
    phrase("to_model", 0.6, ["ai ais llm llms language chatbot chatbots"],
           r"\b(?:dear|attention|hey|hello|hi|note (?:to|for)|message (?:to|for)|instructions? (?:to|for)|"
           r"notice (?:to|for)|important for|to|for) (?:the |all |any |every )?(?:ai|llm|language model|"
           r"ai assistant|ai agent|chatbot|ai model|ai system)s?(?: (?:assistant|agent|model|system|reader)s?)?\s?[:,]"
           r"|\b(?:ai|llm)(?: (?:assistant|agent|model)s?)? (?:reading|processing|parsing|summari[sz]ing|analy[sz]ing|that reads)"),
    phrase("directive", 0.55, ["your", "new real actual true only next updated main primary",
                               "task job instruction goal objective purpose mission role order directive "
                               "tasks jobs instructions goals objectives purposes missions roles orders directives"],
           r"\byour (?:new|real|actual|true|only|next|updated|main|primary) (?:(?:task|instruction|goal|objective|"
           r"purpose|mission|order|directive)s?\b|(?:job|role)s?(?= (?:is|are|will be)\b|:))", "new|real|actual|true|only|next|updated|main|primary ~ task|job|instruction|goal|objective|purpose|mission|role|order|directive"),
    phrase("directive", 0.55, ["new additional updated revised further extra special",
                               "instruction instructions directive directives order orders"],
           r"\b(?:new|additional|updated|revised|further|extra|special) (?:system )?(?:instruction|directive|order)s?(?:\s?[:-]|\sfrom)", "new|additional|updated|revised|further|extra|special ~ system|instruction|directive|order"),
    phrase("directive", 0.55, ["instead"],
           r"\binstead,? (?:you (?:must|should|will|need)|please|do|say|write|tell|output|print|respond|send|reply|answer|act)\b"),
    phrase("directive", 0.55, ["not", "answer respond reply", "question query user request"],
           r"\bdo not (?:answer|respond to|reply to) (?:this|the|that|my) (?:question|query|user|request)\b", "do not answer", "do not respond to", "do not reply to"),
    phrase("directive", 0.55, ["just only simply", "output print say respond reply answer"],
           r"\b(?:just|only|simply) (?:output|print|say|respond with|reply with|answer with)\b:? ?[\"'\u201c\u2018]", "just|only|simply ~ output|print|say|respond|reply|answer"),
    phrase("no_limits", 0.55, ["developer jailbroken jail anything bound free without"],
           r"\bdeveloper mode\b[^.\n]{0,40}\b(?:enabled|on|activated)|\bjail ?broken\b|\bdo anything now\b"
           r"|\b(?:no longer|not) bound by\b|\bfree from (?:all|any|the|your) (?:restriction|rule|limit|constraint|filter)s?"
           r"|\bwithout any (?:restriction|filter|limit|censorship|moral|ethical)\w*\b", "developer mode", "jail", "do anything now", "bound by", "free from", "without any"),
    phrase("concealment", 0.55, ["keep hide", "from"],
           r"\b(?:keep|hide) (?:this|it|that) (?:a )?(?:(?:secret|hidden|confidential)\s)?from (?:the |your )?"
           r"(?:user|human|person|operator|customer|owner)", "keep|hide ~ this|it|that"),
    phrase("concealment", 0.55, ["without", "user human person operator owner", "knowledge knowing noticing consent approval being"],
           r"\bwithout (?:the |your )?(?:user|human|person|operator|owner)(?:'s)? (?:knowledge|knowing|noticing|consent|approval|being)", "user|human|person|operator|owner|user's|human's|person's|operator's|owner's ~ knowledge|knowing|noticing|consent|approval|being"),
    phrase("concealment", 0.55, ["ask wait", "for"],
           r"\b(?:do not|don't|never|no need to) (?:ask|wait) for (?:the |any |user )*(?:user|confirmation|permission|approval|consent)", "ask|wait ~ for"),
    phrase("concealment", 0.55, ["mention"],
           r"\b(?:do not|don't|never) mention (?:this|that you|these|the instruction)", "mention ~ this|that you|these|the instruction"),
    phrase("reveal", 0.6, ["what", "told above beginning start top"],
           r"\bwhat were you told\b|\bwhat (?:is|was|stands?) (?:written |said |stated )?(?:above|(?:at )?the (?:beginning|start|top) of (?:this|the|your) (?:prompt|conversation|chat))\b", "what ~ were you told|is|was|stand"),
    phrase("reveal", 0.6, ["prompt prompts"],
           r"\b(?:show|print|list|output|display|zeig|vorzeigen|anzeigen|nenn|gib|vorzeig)\w*\b[^.!?\n]{0,40}\b(?:all|alle|samtlich)\w* prompt"),
    phrase("reveal", 0.6, ["reveal print show repeat output display leak recite disclose spell list return write tell",
                           "prompt prompts instructions rules guidelines above"],
           r"\b(?:reveal|print|show|repeat|output|display|leak|recite|disclose|spell|list|return|write out|tell)\b[^.!?\n]{0,40}"
           r"(?:\byour (?:\w+ ){0,3}(?:prompts?|instructions|rules|guidelines)\b|\b(?:complete|full|entire|exact|original|initial|"
           r"hidden|whole) (?:system )?(?:prompts?|prompt texts?|instructions)\b|\b(?:all|the) (?:text|prompt)s? above\b)"),
    phrase("override", 0.6, ["aside", "set put cast leave"],
           r"\b(?:set|put|cast|leave) aside\b[^.!?\n]{0,50}\b(?:rule|instruction|guid|order|direction|prompt)", "aside"),
    phrase("override", 0.6, ["pay", "attention heed mind"],
           r"\bpay no (?:attention|heed|mind) to\b[^.!?\n]{0,40}\b(?:rule|instruction|guid|order|direction|prompt|above|earlier|previous)", "pay no ~ attention|heed|mind"),
    phrase("override", 0.6, ["void obsolete canceled cancelled revoked invalid longer superseded replaced overridden",
                             "instruction instructions directions directives guidelines orders guidance prompt prompts"],
           r"\b(?:previous|prior|earlier|above|your|initial)\b[^.!?\n]{0,20}\b(?:instructions?|directions|directives|guidelines|orders|guidance|prompts?)\b[^.!?\n]{0,30}"
           r"\b(?:void|obsolete|cancell?ed|revoked|invalid|no longer|superseded|replaced|overridden)\b"
           r"|\binstructions\b[^.!?\n]{0,30}\b(?:above|you rec\w+|earlier)\b[^.!?\n]{0,20}\b(?:void|obsolete|cancell?ed|revoked|invalid|no longer|superseded|replaced)\b"),
    phrase("concealment", 0.55, ["need bother have required necessary", "ask confirm check consult notify inform tell"],
           r"\b(?:(?:no|not|don't) (?:need|bother|have|required|necessary)) (?:to )?(?:ask|confirm with|check with|consult|notify|inform|tell)"
           r"(?: with)? (?:the |your |any )?(?:users?|humans?|persons?|operators?|owners?|customers?|anyone|anybody)\b"),
    phrase("directive", 0.55, ["as", "i we", "authorize authorise authorized authorised instruct order command direct"],
           r"\bas (?:the|your|an?) (?:\w+ )?(?:administrator|admin|owner|developer|operator|supervisor|maintainer|creator),? (?:i|we) (?:hereby |now )?"
           r"(?:authori[sz]e|instruct|order|command|direct)\b"),
    phrase("override", 0.6, ["treat consider regard take", "instruction instructions directive directives orders command commands"],
           r"\b(?:treat|consider|regard|take) (?:the |this |that |these )?(?:\w+ ){0,3}(?:below|above|following|text|message|document|page|note) (?:\w+ ){0,2}as "
           r"(?:your |the |a )?(?:new |real |actual |only |system )*(?:instructions?|directives?|orders|commands?)\b"),
    phrase("override", 0.6, ["alma"], r"\btalimat\w*\b[^.!?\n]{0,30}\bdikkate alma"),
    phrase("concealment", 0.55, ["let", "user users human humans operator operators"],
           r"\b(?:do not|don't|never) let (?:the |your )?(?:user|human|operator)s? (?:know|see|notice|find out|suspect|learn)", "let ~ the|your|user|human|operator"),
    phrase("concealment", 0.55, ["user users human humans operator operators", "never not t",
                              "find finds know knows notice notices see sees learn learns told informed aware notified"],
           r"\b(?:user|human|operator)s? (?:must |should |does |do |will |may |can |is )?(?:never|not|n't|doesn't) (?:finds?|knows?|notices?|sees?|learns?|to know|(?:be )?(?:told|informed|aware|notified))", "never|not|n't ~ find|know|notice|see|learn|to know|be|told|informed|aware|notified", "doesn't"),
    phrase("concealment", 0.55, ["sag sage erzahl erzahle verrat verrate vertel dis dites informe informez avertis soyleme bildirme bahsetme"],
           r"\b(?:sag|sage|erzahle?|verrate?|vertel)\b[^.!?\n]{0,16}\b(?:benutzer|nutzer|anwender|gebruiker)s?n? (?:nichts|nicht|niets|niet)\b"
           r"|\bn'(?:informe|informez|avertis|dis|dites)\b[^.!?\n]{0,12}\b(?:pas|jamais|rien)\b[^.!?\n]{0,12}utilisateur|\bkullanici\w{0,6}\b[^.!?\n]{0,40}\b(?:soyleme|bildirme|bahsetme)\b"),
    phrase("concealment", 0.55, ["secretly quietly covertly discreetly silently"],
           r"(?:(?:^|[.!?\n,;]) *|\b(?:and|then|but|please|must) )(?:(?:secretly|quietly|covertly|discreetly) (?:send|copy|append|forward|upload|add|include|insert|delete|run|e?mail|post|attach)"
           r"|silently (?:send|copy|forward|upload|e?mail|post))\b"),
    phrase("reveal", 0.55, ["instructions", "you", "reveal print show repeat output share respond reply answer tell"],
           r"\b(?:reveal|print|show|repeat|output|share|respond|reply|answer|tell)\b[^.!?\n]{0,60}\binstructions (?:that )?you (?:received|were given|got)\b",
           "instructions you", "instructions that you"),
    phrase("concealment", 0.55, ["say", "nothing"], r"\bsay nothing\b[^.!?\n]{0,30}\b(?:user|human|operator)", "say nothing"),
    phrase("to_model", 0.55, ["assistant ai agent chatbot llm claude chatgpt gpt",
                              "please you kindly now run execute ignore send call use open read write delete forward follow "
                              "tell make do"],
           r"(?:^|[\n.!?]) *(?:ai |dear |hey |hello )?(?:assistant|ai|ai agent|chatbot|llm|claude|chatgpt|gpt), (?:please|you|kindly|now|run|execute|ignore|"
           r"send|call|use|open|read|write|delete|forward|follow|tell|make|do)\b", "assistant,|ai,|agent,|chatbot,|llm,|claude,|gpt,"),
    phrase("to_model", 0.55, ["ai assistant llm language", "must should shall has needs"],
           r"\b(?:ai|assistant|llm|language model) (?:must|should|shall|has to|needs to) (?:now |always |first |also )?(?:include|send|call|reveal|execute|run|"
           r"follow|ignore|forward|open|output|obey|comply|disclose|transfer|delete)\b", "ai|assistant|llm|model ~ must|should|shall|has to|needs to"),
    phrase("directive", 0.5, ["before", "answering responding replying proceeding continuing doing you",
                              "first must please fetch call open send visit click"],
           r"\bbefore (?:answering|responding|replying|proceeding|continuing|doing anything|you (?:answer|respond|reply|continue|proceed|can (?:solve|answer|help|complete)))\b"
           r"[^.!?\n]{0,60}\b(?:first|you must|please|fetch|call|open|send|visit|click)\b", "before ~ answering|responding|replying|proceeding|continuing|doing anything|you"),
    phrase("answer", 0.55, ["in", "your", "response answer reply output summary responses answers replies outputs summaries"],
           r"(?:^|[.!?\n|])[ \t]*in your (?:\w+ )?(?:responses?|answers?|reply|replies|outputs?|summary|summaries),? (?:\w+ly )?[a-z]{3,}", "in your"),
    phrase("read_secrets", 0.5, ["ssh rsa mcp passwd shadow aws env",
                                 "read open cat include pass attach get fetch load access copy send upload"],
           r"\b(?:read|open|cat|include|pass|attach|get|fetch|load|access|copy|send|upload)\b(?:(?!\.example|\.sample|\.template|\.dist)[^\n:{}]){0,60}?"
           r"(?:~/\.(?:ssh|aws|env|mcp)\b|\bid_rsa\b|\.ssh\b|\bmcp\.json\b|/etc/(?:passwd|shadow)|\.aws/credentials|(?<!\w)\.env\b(?!\.(?:example|sample|template|dist)))"),
)  # fmt: skip

BEYOND_WORDS: Final[tuple[tuple[str, float, tuple[str, ...], re.Pattern[str]], ...]] = (
    ("override", 0.8,
     ("忽略", "无视", "忘", "理会", "別理", "忽视", "無視", "従わ", "作废", "무시", "잊", "تجاهل", "انس", "تلتفت", "अनदेखा", "नज़रअंदाज़", "भूल",
      "ध्यान", "התעלמ", "התעלם", "שכח", "ละเว้น", "เพิกเฉย", "ลืม"), re.compile(
        r"(?:忽略|无视|忘记|忘掉|理会|別理|忽视|無視|忘れ)[^。！？\n]{0,16}(?:指令|指示|提示|规则|規則|命令|要求|内容|说明|プロンプト|ルール|設定)"
        r"|(?:指示|命令|ルール|プロンプト|指令)[^。！？\n]{0,8}(?:無視|忘れ|従わな|従わず|作废)"
        r"|(?:지시|명령|규칙|프롬프트|지침)[^.!?\n]{0,12}(?:무시|잊)|(?:무시|잊)[^.!?\n]{0,12}(?:지시|명령|규칙|프롬프트)"
        r"|(?:تجاهل|انس|انسى)[^.!؟\n]{0,30}(?:تعليمات|التعليمات|الأوامر|القواعد|التوجيهات|ما قيل)|لا تلتفت[^.!؟\n]{0,20}(?:تعليمات|التعليمات|الأوامر|القواعد)"
        r"|(?:अनदेखा|नज़रअंदाज़|भूल)[^।\n]{0,20}(?:निर्देश|आदेश|नियम)|(?:निर्देश|आदेश|नियम)[^।\n]{0,20}(?:अनदेखा|नज़रअंदाज़|भूल|ध्यान न)"
        r"|(?:התעלם|התעלמו|שכח)[^.!?\n]{0,24}(?:הוראות|ההוראות|הנחיות)"
        r"|(?:ละเว้น|เพิกเฉย|ลืม)[^\n]{0,16}(?:คำสั่ง|คำแนะนำ|กฎ)")),
    ("concealment", 0.6,
     ("告诉", "告知", "提及", "通知", "ユーザー", "사용자", "مستخدم", "उपयोगकर्ता", "यूज़र"), re.compile(
        r"(?:不要|别|請勿|请勿)[^。！？\n]{0,4}(?:告诉|告知|提及|通知)[^。！？\n]{0,4}(?:用户|使用者|用戶)"
        r"|ユーザー[^。！？\n]{0,30}(?:言わない|伝えない|知らせない|教えない|言うな|伝えるな|知らせるな)"
        r"|사용자[^.!?\n]{0,30}(?:말하지 마|알리지 마|언급하지 마)"
        r"|لا (?:تخبر|تبلغ|تقل ل|تعلم)[^.!؟\n]{0,6}(?:المستخدم|لمستخدم)"
        r"|(?:उपयोगकर्ता|यूज़र)[^।\n]{0,20}(?:मत बता|न बता|नहीं बता)")),
    ("new_identity", 0.6,
     ("你现在是", "从现在", "從現在", "假装你是", "今から", "너는", "지금부터", "الآن فصاعدا", "अब से"), re.compile(
        r"你现在是|从现在(?:开始|起)[,，]?你|從現在(?:開始|起)[,，]?你|假装你是|あなたは今から|今からあなたは|今から[^。！？\n]{0,16}だけに?従"
        r"|너는 이제|이제부터 너는|지금부터[^.!?\n]{0,16}만 (?:따르|복종)"
        r"|(?:منذ|من) الآن فصاعدا,? ?(?:أنت|أطع|لا تطع)|अब से (?:तुम|आप)? ?(?:केवल|सिर्फ)[^।\n]{0,16}पालन")),
    ("reveal", 0.6,
     ("系统提示", "提示词", "隐藏", "初始", "システムプロンプト", "秘密", "隠された", "시스템 프롬프트", "숨겨진", "المخفية", "موجه النظام", "गुप्त", "सिस्टम प्रॉम्प्ट"),
     re.compile(
        r"(?:透露|显示|输出|打印|告诉我|泄露|重复)[^。！？\n]{0,12}(?:系统提示|提示词|(?:隐藏|初始|秘密)的?(?:指令|指示|提示))"
        r"|(?:システムプロンプト|(?:秘密の|隠された)指示)を?[^。！？\n]{0,4}(?:表示|出力|教え|見せ|公開)"
        r"|(?:시스템 프롬프트|숨겨진 (?:지침|지시|명령))[^.!?\n]{0,6}(?:출력|공개|보여|알려|말해)"
        r"|(?:اكشف|اعرض|اطبع)[^.!؟\n]{0,12}(?:التعليمات المخفية|موجه النظام)"
        r"|(?:गुप्त निर्देश|सिस्टम प्रॉम्प्ट)[^।\n]{0,6}(?:प्रकट|दिखा|बता)")),
)  # fmt: skip
"""Name, weight, what a cheap search finds, pattern: of languages that write without blanks or with endings."""

UNSPACED: Final = re.compile(
    r"[\u0590-\u06ff\u0900-\u097f\u0e00-\u0e7f\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]"
)

TAGS: Final = re.compile("(?<!\U0001f3f4)[\U000e0020-\U000e007e]{3,}")
REMOTE: Final = re.compile(
    r"(?:!\[[^\]\n]{0,200}\]\(\s*<?|(?:^|\n)[ \t]{0,3}\[[^\]\n]{1,100}\]:[ \t]*<?|<img[^<>]{0,200}?\bsrc\s*=\s*[\"']?|\[[^\]\n]{0,200}\]\(\s*<?)"
    r"(?:https?:)?//[^\s)>\"']{1,2000}"
)
CARRIES: Final = re.compile(
    r"[?&#/=](?:\{[^{}]{1,60}\}|\[[^\[\]]{1,60}\]|<[^<>]{1,60}|%7b[^%]{1,60}%7d|\$\{?[a-z_]{2,40}|(?:your|insert|the|all|user|base64|encoded|secret)[_+-][a-z_+-]{2,60}|data_here|secret\b)"
    r"|[?&][\w-]{1,20}=[a-z0-9+/_%-]{64,}={0,2}"
)

SOLICITING: Final = frozenset("call use invoke run execute trigger using calling with via through".split())
SOLICITS: Final = re.compile(
    r"\b(?:call|use|invoke|run|execute|trigger|using|calling|with|via|through)\b(?: (?:the|this|your|our|a|tool|function|named|called)){0,3}"
    r" [`'\"]?([a-z][\w.-]{2,63})"
)
