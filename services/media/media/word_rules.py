"""Phrases that are never read out, judged offline. Single words say too little: to kill a fear is a fine goal."""

import re
import unicodedata
from typing import Literal

Category = Literal["crisis", "hate", "harassment", "sexual", "violence"]


def _any_of(text: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{line.strip()})" for line in text.strip().splitlines()))


_PEOPLE = (
    r"(?:him|her|them|people|everyone|everybody|someone|somebody|(?:my|his|her|their|the|that|this|all|those|these)"
    r" (?:\w+ )?(?:boss|wife|husband|ex|girlfriend|boyfriend|partner|mother|father|mom|mum|dad|sister|brother|son"
    r"|daughter|kids?|child(?:ren)?|baby|teacher|neighbou?rs?|coworkers?|colleagues?|wom[ae]n|m[ae]n|girls?|boys?"
    r"|jews|muslims|christians|blacks|whites|gays|immigrants|refugees|people))"
)
_GROUPS = r"(?:jews|muslims|christians|blacks|whites|gays|immigrants|refugees|women|men)"
_MINORS = r"(?:child(?:ren)?|minors?|kids?|teen(?:ager)?s?|little (?:girl|boy)s?)"
_ATTACKING = (
    r"(?:kill(?:ing)?|murder(?:ing)?|stab(?:bing)?|strangl(?:e|ing)|rap(?:e|ing)|tortur(?:e|ing)|behead(?:ing)?"
    r"|beat(?:ing)? up)"
)
_RULES: dict[Category, re.Pattern[str]] = {
    "crisis": _any_of(r"""
        \b(?:kill|hurt|harm|hang|shoot|drown|poison)(?:ing)? myself\b
        \bcut(?:ting)? myself\b(?! (?:some|a|loose|off|free|out|in|open to))
        \bself[- ]?harm(?:ing)?\b
        \b(?:commit(?:ting)?|attempt(?:ing)?|thinking (?:of|about)|thoughts? of|consider(?:ing)?) suicide\b
        \b(?:am|feel|feeling|being|so) suicidal\b
        \b(?:end|ending|take|taking|took) my (?:own )?life\b(?! (?:back|into|seriously|to|in|story)\b)
        \b(?:want|wanted|wish|ready|going|rather|like|have) to die\b(?! (?:of|for|trying|happy|old))
        \b(?:wish|wished) i (?:was|were) (?:dead|never born)\b
        \bbetter off (?:dead|without me)\b
        \b(?:no|any) reason (?:to live|for living)\b
        \b(?:do not|dont|don't|no longer) want to (?:live|be alive|exist|wake up)\b
        \bend it all\b
    """),
    "hate": _any_of(rf"""
        \bn[i]gg(?:er|a)s?\b
        \bf[a]gg?ots?\b
        \bk[i]kes?\b
        \bsp[i]cs\b
        \bch[i]nks?\b
        \btr[a]nn(?:y|ies)\b
        \b(?:white|aryan) (?:power|supremacy|race)\b
        \b(?:heil|sieg heil|gas the)\b
        \b(?:hate|despise) (?:all )?(?:the )?{_GROUPS}\b
        \b{_GROUPS} are (?:vermin|subhuman|animals|filth|inferior|parasites)\b
        \b(?:superior|inferior) race\b
    """),
    "harassment": _any_of(r"""
        \b(?:ruin|destroy) (?:his|her|their|my ex'?s?) (?:life|career|reputation)\b
        \bmake (?:him|her|them) (?:suffer|pay|bleed|beg)\b
        \b(?:stalk|blackmail|humiliate|terrori[sz]e) (?:him|her|them|my)\b
    """),
    "sexual": _any_of(rf"""
        \bporn(?:o|ography)?\b(?! (?:addiction|habit|recovery))
        \b(?:sex|sexual) (?:\w+ )?with (?:a |my |the )?{_MINORS}\b
        \b(?:fuck|fucking) (?:him|her|them|you|girls|guys|women|men)\b
        \b(?:blowjobs?|handjobs?|cum(?:shot)s?|gang ?bang|masturbat\w+|orgasms?)\b
    """),
    "violence": _any_of(rf"""
        \b{_ATTACKING} {_PEOPLE}\b(?! with kindness)
        \bkill all\b
        \bshoot(?:ing)? (?:up )?(?:the|my|a) (?:school|office|church|mosque|synagogue|crowd)\b
        \b(?:blow|bomb)(?:ing)? up (?:the|my|a) (?:school|office|church|mosque|synagogue|building|plane|train)\b
        \b(?:build|make|making|building) a bomb\b
    """),
}
_SPEAKS_OF_OTHERS = re.compile(
    r"\b(?:prevent\w*|survivors?|awareness|hotline|volunteer\w*|help(?:ing)? (?:others|people))\b"
)
_LEET = str.maketrans("013457@$", "oieastas")
_SPELLED_OUT = re.compile(r"\b(?:\w[.*_-]){2,}\w\b")


def judge_words(text: str) -> Category | None:
    """By the word rules: what is wrong with the text, a crisis before everything else."""
    plain = unicodedata.normalize("NFKC", text).lower().replace("’", "'")
    plain = " ".join(_SPELLED_OUT.sub(lambda found: re.sub(r"[.*_-]", "", found[0]), plain).split())
    for form in dict.fromkeys((plain, plain.translate(_LEET))):
        for category, pattern in _RULES.items():
            if pattern.search(form) and not (category == "crisis" and _SPEAKS_OF_OTHERS.search(form)):
                return category
    return None
