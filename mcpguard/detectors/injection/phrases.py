"""The phrases and marks that `markup` looks for, with the weight of each, and the words that come with it.

Every quantifier is bounded, and nothing is looked for before a cheap search has found what it must have.
"""

import re
from typing import Final

__all__ = ["BEYOND_WORDS", "CARRIES", "MARKUP", "PHRASES", "REMOTE", "SOLICITS", "TAGS", "UNSPACED"]

MARKUP: Final[tuple[tuple[str, float, tuple[str, ...], re.Pattern[str]], ...]] = (
    ("chat_tokens", 0.8, ("<", "["),
     re.compile(r"<\|(?:im_start|im_end|system|user|assistant|endoftext|eot_id|start_header_id|end_header_id)[^>\n]{0,30}"
                r"|\[/?inst\]|<</?sys>>|<(?:start|end)_of_turn>")),
    ("forged_role", 0.7, ("<", "["),
     re.compile(r"<(/?)(?:system|assistant|human|system[_-]?(?:prompt|message|instruction|override)|instructions?|important|"
                r"information|admin|tool_(?:result|response|call)s?|function_(?:results?|calls?)|user_(?:query|message))(?:\s[^<>\n]{0,80})?>"
                r"(?=[^<>]{0,400}?\b(?:you|your|must|please|do not|don't|never|ignore|before|du|sie|vous|usted|tu)\b)"
                r"|\[/?(?:system|assistant|admin(?:istrator)?|developer)(?: (?:message|prompt|override|instruction|note|notice|alert)s?)?\]")),
    ("forged_role", 0.3, ("<",), re.compile(r"</?(?:system|assistant|human|instructions?|important|information)>")),
    ("forged_role", 0.5, ("##", "==", "--", "system", "admin"),
     re.compile(r"(?:^|\n)[ \t]*(?:#{2,}|={3,}|-{3,})[ \t]*(?:system|new|updated|admin) (?:instructions?|prompt|override|message|note)\b"
                r"|\bsystem (?:override|prompt override|instruction override)\b")),
    ("forged_role", 0.3, ("##", "==", "--", "system", "assistant", "human"),
     re.compile(r"(?:^|\n)[ \t]*(?:#{2,}|={3,}|-{3,})[ \t]*(?:instructions?|prompt|override|system)\b[^\n]{0,20}"
                r"|(?:^|\n)[ \t]*(?:system|assistant|human)(?: (?:message|prompt|note|override))?:[ \t]*\S")),
)  # fmt: skip
"""Name, weight, what a cheap search finds, pattern."""

PHRASES: Final[tuple[tuple[str, float, frozenset[str], re.Pattern[str]], ...]] = (
    ("new_identity", 0.6, frozenset("now act role behave pretend serve roleplay persona identity play jetzt nun ab partir desormais ora agiere agierst mochte will wunsche quiero veux voglio quero теперь этого".split()),
     re.compile(r"\byou(?:'re| are) now (?:a|an|the|in|going|my|called|named|[a-z]+bot|dan|[a-z]+,)\b"
                r"|\bnow,? you are (?!(?:ready|able|done|set|in|on|at|good|finished|free|connected|logged|all|asked|using|left|here|"
                r"prompted|not|also|to|allowed|back|inside|running|looking|seeing|working|presented|given|required|one|up)\b)\w+"
                r"|\b(?:jetzt|nun) bist du\b|\b(?:mochte|will|wunsche)(?: ich)?,? dass (?:sie|du)\b[^.!?\n]{0,80}\b(?:fungier|agier|verhalt)\w*"
                r"|\bquiero que (?:actues|seas|te comportes)\b|\bje veux que (?:tu|vous) (?:agiss|sois|soyez|fass|jou)\w*"
                r"|\bvoglio che tu (?:agisca|sia|ti comporti|faccia)\b|\bquero que voce (?:aja|atue|seja)\b"
                r"|\bтеперь ты\b|\bс этого момента ты\b|\bты теперь\b"
                r"|\byou will now (?:act|become|respond|behave|play|pretend|be (?:an?|the|my))"
                r"|\bfrom now on,? (?:you (?:must|should|are|only|always|never|answer|respond|act|will (?:act|respond|answer|only|always|never|be|speak|reply|behave))|only|always|never|respond|answer|act|speak|reply|ignore|do not)\b"
                r"|\b(?:want|need|would like|like) you to (?:behave|pretend|roleplay|(?:act|function|serve) as (?:an?|if|the)\b)"
                r"|\b(?:take on|assume|play|adopt) the (?:role|persona|identity) of\b"
                r"|\bdu bist (?:jetzt|nun)\b|\bab (?:jetzt|sofort) (?:bist|antworte|sollst|wirst|agierst)\b"
                r"|\ba partir de (?:ahora|agora),? \w+|\bdesormais,? (?:tu|vous)\b|\bda ora in poi\b|\bagiere als\b")),
    ("to_model", 0.6, frozenset("ai assistant llm llms model agent agents chatbot gpt automated bot".split()),
     re.compile(r"\bif you(?:'re| are) (?:an? |the )?(?:ai|a\.i\.|artificial|llm|large language|language model|assistant|agent|"
                r"chatbot|bot|automated)\b"
                r"|\b(?:dear|attention|hey|hello|hi|note (?:to|for)|message (?:to|for)|instructions? (?:to|for)|"
                r"notice (?:to|for)|important for|to|for) (?:the |all |any |every )?(?:ai|llm|language model|"
                r"ai assistant|ai agent|chatbot|ai model|ai system)s?(?: (?:assistant|agent|model|system|reader)s?)?\s?[:,]"
                r"|\b(?:ai|llm)(?: (?:assistant|agent|model)s?)? (?:reading|processing|parsing|summari[sz]ing|analy[sz]ing|that reads)")),
    ("directive", 0.55, frozenset("answer respond reply just only simply instead task job instruction instructions goal objective purpose mission role order orders directive directives".split()),
     re.compile(r"\byour (?:new|real|actual|true|only|next|updated|main|primary) (?:task|job|instruction|goal|objective|"
                r"purpose|mission|role|order|directive)s?\b"
                r"|\b(?:new|additional|updated|revised|further|extra|special) (?:system )?(?:instruction|directive|order)s?\s?(?::|-|from)"
                r"|\binstead,? (?:you (?:must|should|will|need)|please|do|say|write|tell|output|print|respond|send|reply|answer|act)\b"
                r"|\bdo not (?:answer|respond to|reply to) (?:this|the|that|my) (?:question|query|user|request)\b"
                r"|\b(?:just|only|simply) (?:output|print|say|respond with|reply with|answer with)\b:? ?[\"'\u201c\u2018]")),
    ("no_limits", 0.55, frozenset("developer jailbroken jail anything bound free without".split()),
     re.compile(r"\bdeveloper mode\b[^.\n]{0,40}\b(?:enabled|on|activated)|\bjail ?broken\b|\bdo anything now\b"
                r"|\b(?:no longer|not) bound by\b|\bfree from (?:all|any|the|your) (?:restriction|rule|limit|constraint|filter)s?"
                r"|\bwithout any (?:restriction|filter|limit|censorship|moral|ethical)\w*\b")),
    ("concealment", 0.55, frozenset("keep hide without ask wait mention".split()),
     re.compile(r"\b(?:keep|hide) (?:this|it|that) (?:a )?(?:secret|hidden|confidential)?\s?from (?:the |your )?"
                r"(?:user|human|person|operator|customer|owner)"
                r"|\bwithout (?:the |your )?(?:user|human|person|operator|owner)(?:'s)? (?:knowledge|knowing|noticing|consent|approval|being)"
                r"|\b(?:do not|don't|never|no need to) (?:ask|wait) for (?:the |any |user )*(?:user|confirmation|permission|approval|consent)"
                r"|\b(?:do not|don't|never) mention (?:this|that you|these|the instruction)")),
    ("reveal", 0.6, frozenset("prompt prompts instructions rules guidelines text texts above beginning start top told".split()),
     re.compile(r"\bwhat were you told\b|\bwhat (?:is|was|stands?) (?:written |said |stated )?(?:above|(?:at )?the (?:beginning|start|top) of (?:this|the|your) (?:prompt|conversation|chat))\b"
                r"|\b(?:show|print|list|output|display|zeig|vorzeigen|anzeigen|nenn|gib|vorzeig)\w*\b[^.!?\n]{0,40}\b(?:all|alle|samtlich)\w* prompt"
                r"|\b(?:reveal|print|show|repeat|output|display|leak|recite|disclose|spell|list|return|write out|tell)\b[^.!?\n]{0,40}"
                r"(?:\byour (?:\w+ ){0,3}(?:prompts?|instructions|rules|guidelines)\b|\b(?:complete|full|entire|exact|original|initial|"
                r"hidden|whole) (?:system )?(?:prompts?|prompt texts?|instructions)\b|\b(?:all|the) (?:text|prompt)s? above\b)")),
    ("override", 0.6, frozenset(["aside", "attention", "heed", "void", "obsolete", "canceled", "cancelled", "revoked", "invalid", "longer", "superseded", "replaced", "overridden", "alma"]),
     re.compile(r"\b(?:set|put|cast|leave) aside\b[^.!?\n]{0,50}\b(?:rule|instruction|guid|order|direction|prompt)"
                r"|\bpay no (?:attention|heed|mind) to\b[^.!?\n]{0,40}\b(?:rule|instruction|guid|order|direction|prompt|above|earlier|previous)"
                r"|\b(?:previous|prior|earlier|above|your|initial)\b[^.!?\n]{0,20}\b(?:instructions?|directions|directives|guidelines|orders|guidance|prompts?)\b[^.!?\n]{0,30}"
                r"\b(?:void|obsolete|cancell?ed|revoked|invalid|no longer|superseded|replaced|overridden)\b"
                r"|\binstructions\b[^.!?\n]{0,30}\b(?:above|you rec\w+|earlier)\b[^.!?\n]{0,20}\b(?:void|obsolete|cancell?ed|revoked|invalid|no longer|superseded|replaced)\b"
                r"|\btalimat\w*\b[^.!?\n]{0,30}\bdikkate alma")),
    ("concealment", 0.55, frozenset(["let", "never", "finds", "not", "doesn't", "without", "nulla", "nothing"]),
     re.compile(r"\b(?:do not|don't|never) let (?:the |your )?(?:user|human|operator)s? (?:know|see|notice|find out|suspect|learn)"
                r"|\b(?:user|human|operator)s? (?:must |should |does |do |will |may |can |is )?(?:never|not|n't|doesn't) (?:finds?|knows?|notices?|sees?|learns?|to know|(?:be )?(?:told|informed|aware|notified))"
                r"|\bsay nothing\b[^.!?\n]{0,30}\b(?:user|human|operator)")),
    ("to_model", 0.55, frozenset(["assistant", "ai", "llm", "agent", "chatbot", "claude", "chatgpt", "gpt"]),
     re.compile(r"(?:^|[\n.!?]) *(?:ai |dear |hey |hello )?(?:assistant|ai|ai agent|chatbot|llm|claude|chatgpt|gpt), (?:please|you|kindly|now|run|execute|ignore|"
                r"send|call|use|open|read|write|delete|forward|follow|tell|make|do)\b"
                r"|\b(?:ai|assistant|llm|language model) (?:must|should|shall|has to|needs to) (?:now |always |first |also )?(?:include|send|call|reveal|execute|run|"
                r"follow|ignore|forward|open|output|obey|comply|disclose|transfer|delete)\b")),
    ("directive", 0.5, frozenset(["before"]),
     re.compile(r"\bbefore (?:answering|responding|replying|proceeding|continuing|doing anything|you (?:answer|respond|reply|continue|proceed|can (?:solve|answer|help|complete)))\b"
                r"[^.!?\n]{0,60}\b(?:first|you must|please|fetch|call|open|send|visit|click)\b")),
    ("answer", 0.55, frozenset("response answer reply output responses answers replies".split()),
     re.compile(r"(?:^|[.!?\n|])[ \t]*in your (?:\w+ )?(?:response|answer|reply|output|summary)s?,? (?:\w+ly )?[a-z]{3,}")),
    ("read_secrets", 0.5, frozenset("ssh rsa mcp passwd shadow aws env".split()),
     re.compile(r"\b(?:read|open|cat|include|pass|attach|get|fetch|load|access|copy|send|upload)\b[^\n:{}]{0,60}"
                r"(?:~/\.\w+|\bid_rsa\b|\.ssh\b|\bmcp\.json\b|/etc/(?:passwd|shadow)|\.aws/credentials|(?<!\w)\.env\b)")),
)  # fmt: skip

BEYOND_WORDS: Final[tuple[tuple[str, float, re.Pattern[str]], ...]] = (
    ("override", 0.8, re.compile(
        r"(?:忽略|无视|忘记|忘掉|不要理会|別理|忽视|無視|忘れ)[^。！？\n]{0,16}(?:指令|指示|提示|规则|規則|命令|要求|内容|说明|プロンプト|ルール|設定)"
        r"|(?:指示|命令|ルール|プロンプト|指令)[^。！？\n]{0,8}(?:無視|忘れ|従わな)"
        r"|(?:지시|명령|규칙|프롬프트|지침)[^.!?\n]{0,12}(?:무시|잊)|(?:무시|잊)[^.!?\n]{0,12}(?:지시|명령|규칙|프롬프트)"
        r"|(?:تجاهل|انس|انسى)[^.!؟\n]{0,30}(?:تعليمات|التعليمات|الأوامر|القواعد|السابقة)"
        r"|(?:अनदेखा|नज़रअंदाज़|भूल)[^।\n]{0,20}(?:निर्देश|आदेश|नियम)|(?:निर्देश|आदेश|नियम)[^।\n]{0,20}(?:अनदेखा|नज़रअंदाज़|भूल)"
        r"|(?:התעלם|התעלמו|שכח)[^.!?\n]{0,24}(?:הוראות|ההוראות|הנחיות)"
        r"|(?:ละเว้น|เพิกเฉย|ลืม)[^\n]{0,16}(?:คำสั่ง|คำแนะนำ|กฎ)")),
    ("concealment", 0.6, re.compile(
        r"(?:不要|别|請勿|请勿)[^。！？\n]{0,4}(?:告诉|告知|提及|通知)[^。！？\n]{0,4}(?:用户|使用者|用戶)"
        r"|ユーザー[^。！？\n]{0,6}(?:言わない|伝えない|知らせない|教えない)")),
    ("new_identity", 0.6, re.compile(r"(?:你现在是|从现在开始[,，]?你|假装你是|あなたは今から|今からあなたは|너는 이제|이제부터 너는)")),
)  # fmt: skip
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

SOLICITS: Final = re.compile(
    r"\b(?:call|use|invoke|run|execute|trigger|using|calling|with|via|through)\b(?: (?:the|this|your|our|a|tool|function|named|called)){0,3}"
    r" [`'\"]?([a-z][\w.-]{2,63})"
)
