"""Phrases that are never read out, judged offline. Single words say too little: to kill a fear is a fine goal."""

from __future__ import annotations

import re
from typing import Literal

from common.speakable.crisis import is_crisis
from common.speakable.spellings import any_of, readings

Category = Literal["crisis", "hate", "harassment", "sexual", "violence"]

_KIN = (
    r"(?:wife|husband|ex|girlfriend|boyfriend|partner|mother|father|mom|mum|dad|sister|brother|son|daughter|kids?"
    r"|child(?:ren)?|baby)"
)
_PEOPLE = (
    r"(?:him|her|them|people|everyone|everybody|someone|somebody|(?:my|his|her|their|the|that|this|all|those|these)"
    rf" (?:\w+ )?(?:boss|{_KIN}|teacher|neighbou?rs?|co-?workers?|colleagues?|classmates?|wom[ae]n|m[ae]n|girls?|boys?"
    r"|jews|muslims|christians|blacks|whites|gays|immigrants|refugees|people))"
)
_GROUPS = r"(?:jews|muslims|christians|blacks|whites|gays|lesbians|trans people|immigrants|refugees|women|men|indians)"
_MINORS = (
    r"(?:child(?:ren)?|minors?|kids?|teen(?:ager)?s?|little (?:girl|boy)s?|underage (?:\w+)|students|pupils"
    r"|(?:[1-9]|1[0-7])[- ]?(?:year|yr)s?[- ]?olds?(?: \w+)?)"
)
_ATTACKING = (
    r"(?:kill(?:ing)?|murder(?:ing)?|stab(?:bing)?|strangl(?:e|ing)|rap(?:e|ing)|tortur(?:e|ing)|behead(?:ing)?"
    r"|beat(?:ing)? up|poison(?:ing)?|chok(?:e|ing))"
)
_BUILDINGS = r"(?:school|office|church|mosque|synagogue|building|house|plane|train|store)"
_RULES: dict[Category, re.Pattern[str]] = {
    "hate": any_of(rf"""
        \bn[i]gg(?:er|a)s?\b
        \bf[a]gg?ots?\b
        \bk[i]kes?\b
        \bsp[i]cs\b
        \bch[i]nks?\b(?! in (?:the|my|his|her|their|its) )
        \btr[a]nn(?:y|ies)\b
        \b(?:white|aryan) (?:power|supremacy|race)\b
        \b(?:heil|sieg heil|gas the)\b
        \b(?:hate|despise) (?:all )?(?:the )?{_GROUPS}\b
        \b{_GROUPS} (?:\w+ ){{0,6}}are (?:all )?(?:vermin|subhuman|animals|filth|inferior|parasites|beneath me)\b
        \b(?:superior|inferior) race\b
        \bsuperior to (?:all |the |other )?{_GROUPS}\b
        \bwomen belong in the kitchen\b
    """),
    "harassment": any_of(r"""
        \b(?:ruin|destroy) (?:his|her|their|my ex'?s?) (?:life|career|reputation)\b
        \bmake (?:him|her|them) (?:suffer|bleed|beg|obey)\b
        \bmake (?:him|her|them) pay\b(?! (?:\w+ )?(?:invoices?|bills?|rent|attention|back|on time|their|his|me))
        \b(?:stalk|blackmail|humiliate|terrori[sz]e) (?:him|her|them|my)\b
        \b(?:she|he|they) (?:always )?obeys? me\b|\buntil (?:she|he|they) obeys?\b
        \bwhere (?:my ex|she|he) lives\b
        \bscare (?:him|her|my ex)\b
    """),
    "sexual": any_of(rf"""
        \bchild porn
        (?<!quit watching )(?<!stop watching )(?<!watching less )\bporn(?:o|ography)?\b(?!
        +  (?:addict|habit|recovery|free))
        \b(?:sex|sexual|seduc(?:e|ing)|sleep(?:ing)? with|naked|nude) (?:\w+ )?(?:with )?
        + (?:a |an |my |the )?{_MINORS}(?! (?:in|beside|next|near|peacefully|awake|asleep|co-))\b
        \b(?:seduce|attract|groom(?:ing)?) (?:underage|minors|kids|children|little|teen|young (?:girls|boys))
        \b(?:fuck|fucking) (?:him|her|them|you|(?:that |this |the |a )?(?:bitch|slut|whore)|girls|guys|women|men)\b
        \b(?:blowjobs?|handjobs?|cum(?:shot)s?|gang ?bang|orgasms?)\b|\bcum (?:on|in|for) (?:her|his|him|my|me|the)\b
        \bmasturbat\w+\b(?! (?:addict\w*|habit|recovery))
    """),
    "violence": any_of(rf"""
        \b{_ATTACKING} {_PEOPLE}\b(?! (?:with kindness|on stage|at (?:chess|tennis|golf|cards|darts)))
        \b(?:hit|punch|slap|beat|kick) my (?:\w+ )?{_KIN}\b(?!'|
        +  (?:at|in a|in the|to|by|up on|with a hug|on the back|for))
        \b(?:want to|going to|love to|like to|enjoy|will) hurt(?:ing)? {_PEOPLE}\b(?! (?:less|feelings))
        \bhurt people who\b
        \bshoot(?:ing)? my (?:\w+ )?(?:boss|{_KIN}|co-?workers?|colleagues?|classmates?|teachers?)\b(?!
        +  (?:an?|with|in|for|some)\b)
        \bkill all\b(?! (?:my|the) (?:doubts?|fears?|worr|germs|bacteria|weeds))
        \bshoot(?:ing)? (?:up )?(?:the|my|a) (?:school|office|church|mosque|synagogue|crowd)\b
        \b(?:blow|bomb|burn)(?:ing)? (?:up|down) (?:the|my|a|his|her|their) {_BUILDINGS}\b
        \b(?:build|make|making|building) (?:a |an )?(?:pipe |nail |car |dirty |home ?made )?bombs?\b(?!
        +  (?:shelter|cyclone))
        \b(?:tortur(?:e|ing)|kick(?:ing)?|poison(?:ing)?|hurt(?:ing)?) (?:my |the |a |his |her )?(?:\w+'s? )?
        + (?:dogs?|cats?|animals|pets?|puppy)\b
    """),
}
_REFRAINING = re.compile(r"\b(?:stop|quit|never|not|avoid|no more|without|instead of|don't|won't)(?: \w+){0,2} $")
_FICTION = re.compile(r"\b(?:novels?|stor(?:y|ies)|thrillers?|screenplay|characters?|films?|videogames?|game|plot)\b")


def judge_words(text: str) -> Category | None:
    """By the word rules: what is wrong with the text, a crisis before everything else."""
    forms = readings(text)
    if any(is_crisis(form) for form in forms):
        return "crisis"
    for form in forms:
        for category, pattern in _RULES.items():
            if any(_is_meant(category, form, found) for found in pattern.finditer(form)):
                return category
    return None


def _is_meant(category: Category, text: str, found: re.Match[str]) -> bool:
    """Not where somebody speaks of what they want to leave, or writes of it."""
    if category != "violence":
        return True
    mild = re.match(r"hit|slap|kick|hurt", found[0]) is not None
    return not (mild and _REFRAINING.search(text[: found.start()])) and not _FICTION.search(text)
