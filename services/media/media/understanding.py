"""A goal as somebody typed it, made ready to be read: common slips spelled right, chat words and introductions left
out, what was typed at a machine left out, and a goal in another language told in the English words the voice can say.

The text stays data: words are only left out or put otherwise, and nothing it says is followed.
"""

from __future__ import annotations

import re
import unicodedata

_SLIPS: dict[str, str] = dict(
    re.findall(
        r"(\w+):(\w+)",
        """
    confidnt:confident confedent:confident confidance:confidence
    anxeity:anxiety anxity:anxiety anxios:anxious axiety:anxiety stres:stress strees:stress
    depresion:depression procrastinaton:procrastination procastination:procrastination procrastinat:procrastinate
    procastinate:procrastinate excercise:exercise exersise:exercise excersise:exercise beleive:believe
    belive:believe acheive:achieve achive:achieve recieve:receive wieght:weight weigth:weight helthy:healthy
    heathy:healthy healty:healthy sleap:sleep slepe:sleep sleeep:sleep relaxe:relax realx:relax focuse:focus
    foccus:focus concentrat:concentrate consentrate:concentrate buisness:business bussiness:business
    busines:business carreer:career carrer:career mariage:marriage marrige:marriage relashionship:relationship
    relationshp:relationship realtionship:relationship freind:friend freinds:friends presure:pressure
    sucess:success succes:success sucessful:successful motivatd:motivated motivaton:motivation
    disipline:discipline dicipline:discipline patiance:patience patince:patience peacful:peaceful
    greatful:grateful gratefull:grateful calmm:calm meditat:meditate meditaton:meditation
    impostor:imposter syndrom:syndrome publik:public speach:speech presentaton:presentation
    langauge:language writting:writing studing:studying smokeing:smoking quiting:quitting
    drinkin:drinking""",
    )
)
_OWN = "myself|my (?:body|looks?|face|skin|nose|hair|belly|stomach|thighs|legs|voice|reflection)"
_CHAT = re.compile(
    r"\b(?:idk|dunno|lol|lmao|omg|tbh|pls|plz|please|rn|ngl|imo|kinda|sorta|basically|literally|honestly|thx|thanks)\b",
    re.I,
)
_PERSON = (
    r"(?:mom|mum|mommy|mother|dad|daddy|father|parents?|husband|wife|partner|fianc[eé]e?|boyfriend|girlfriend|sons?"
    r"|daughters?|bab(?:y|ies)|twins?|child(?:ren)?|brothers?|sisters?|twin|grand\w+|nan|nana|aunt|uncle|cousin|niece"
    r"|nephew|(?:best )?friends?|dogs?|cats?|horse|pets?|puppy|kitten|bunny|pregnancy)"
)
_GONE = r"(?:passed(?: away)?|died|is gone|was killed|took (?:his|her|their) (?:own )?life|got killed)"
_LOOSE = (
    (re.compile(r"\b(mother|father|sister|brother|son|daughter|parents)[ -]in[ -]laws?\b", re.I), r"\1-in-law"),
    # who has lost somebody is told of their grief, and never that they outgrow it
    (
        re.compile(
            rf"\b(my|our) ((?:\w+ )?{_PERSON}) (?:has |just |recently |suddenly )?{_GONE}\b(?:(?! and\b)[^,.;!?])*",
            re.I,
        ),
        r"my grief for \1 \2.",
    ),
    (
        re.compile(
            rf"\b(?:(?:i|we)(?:'ve| have)? )?(?:just |recently )?(?:lost|losing) (my|our) ((?:\w+ )?{_PERSON})\b", re.I
        ),
        r"my grief for \1 \2",
    ),
    (
        re.compile(
            r"\b(?:i(?:'ve| have)? )?(?:just |recently )?lost (my|our) (job|home|house|business|pet|savings)\b", re.I
        ),
        r"the loss of \1 \2",
    ),
    (
        re.compile(
            r"\b(?:i(?:'ve| have)? )?(?:just |recently )?lost (my) (confidence|motivation|focus|faith|way|spark|joy)\b",
            re.I,
        ),
        r"find \1 \2 again",
    ),
    (re.compile(r"\bloose (?=weight|\d|my (?:belly|weight|fat)|fat|belly|some|a few|the weight)", re.I), "lose "),
    (re.compile(r"\b(?:learn|start|begin)(?:n?ing)? (?=to\b|how\b|\w{2,}ing\b)", re.I), ""),
    (re.compile(r"\b(?:have|find|get|had) the (?:courage|strength|guts|nerve|bravery) to\b", re.I), "to"),
    (re.compile(r"\bsay what i (?:think|mean|want|need|feel)\b", re.I), "speak my mind"),
    (re.compile(r"\blike (?:nobody|no one)(?:'s| is)? watching\b", re.I), "freely"),
    (re.compile(r"\ba (panic|anxiety) attack\b", re.I), r"\1"),
    (re.compile(r"</?\w[^<>]*>|\{[^{}]*\}|[{}\[\]]"), " "),
    (re.compile(r"\b(?:wanna|wana)\b", re.I), "want to"),
    (re.compile(r"\bgotta\b", re.I), "have to"),
    (re.compile(r"\b(?:be|being) able to\b", re.I), ""),
    (re.compile(r"\b(accept(?:ing)?) that i(?:'m| am)\b", re.I), r"\1 being"),
    (re.compile(r"\bquit(?:ting)? (?=my\b)", re.I), "leave "),
    (re.compile(r"\bmy heart is (?:so )?broken\b", re.I), "heartbreak"),
    (re.compile(r"\b(?:god)?damn(?:ed)?\b|\bf[u*]cking?\b|\bfreaking\b|\bbloody\b", re.I), ""),
    (
        re.compile(
            r"\b((?:my|this|the|these|those) \w+(?: \w+)?) (?:is|are) (?:killing|stressing|overwhelming|exhausting"
            r"|driving|wearing) me(?: out| down| crazy| nuts| mad)?\b",
            re.I,
        ),
        r"stay calm with \1",
    ),
    # nobody should hear it said back to them all night
    (re.compile(rf"\b(?:i )?(?:hate|hating|can't stand) ({_OWN})\b", re.I), r"be kinder to \1"),
)
_INTRODUCTION = re.compile(
    r"\b(?:my name is|i am called|call me) +\w+(?: +[A-Z]\w+)?(?: +and\b)?[\s,.;]*"
    r"|^\W*i(?:'m| am) an? [^,.;]*?(?:[,.;]+|\band\b)\s*(?=(?:i\s+)?(?:want|need|would|wish|hope|try|trying)\b)"
    r"|\bi(?:'m| am) (?:a )?\d+(?:[- ]years?[- ]old)?\b(?: and\b)?[\s,.;]*",
    re.I,
)
_MACHINE = re.compile(
    r"\b(?:ignore|disregard|forget|override|bypass)\b[^.;!?\n]*?\b(?:instructions?|prompts?|rules?|above)\b"
    r"(?:\s+and\b)?|\b(?:print|output|reveal|show|repeat|tell me)\b[^.;!?\n]*?\b(?:prompt|instructions?)\b"
    r"|\byou are (?:now )?(?:dan|chatgpt|an? (?:ai|assistant|model))\b|\b(?:system|assistant|user)\s*:",
    re.I,
)
_FOREIGN = re.compile(
    r"\b(?:quiero|necesito|puedo|quisiera|mejor|mejorar|dormir|estar|tener|mis|más|para|una|con"
    r"|ich|möchte|mochte|nicht|und|mehr|besser|meine?n?|werden|schlafen|keine?"
    r"|je|veux|voudrais|mieux|être|etre|plus|avoir|mes|dans|avec|pas|moins"
    r"|quero|preciso|melhor|mais|minha|meu|não|ter"
    r"|voglio|vorrei|meglio|più|essere|avere|mio|mia|senza)\b"
)
_ENGLISH = re.compile(
    r"\b(?:the|to|my|more|be|better|want|with|at|of|in|and|for|is|not|stop|have|feel|get|less|a|i'm|am|how)\b"
)
_TOLD = (
    (r"\bdorm|\bschlaf|sommeil|\bsono\b|\bsonno|\bsueño|\binsomn|睡|眠|잠|\bсон\b|спать|نوم", "sleep"),
    (
        r"calm|ruhig|\bruhe\b|tranquil|seren[oai]\b|entspann|relaj|détend|放松|冷静|平静|リラックス|落ち着|спокой|هدوء",
        "calm",
    ),
    (r"ansiedad|ansiedade|ansia\b|angst|anxi|焦虑|焦慮|不安|тревог|قلق", "calm"),
    (r"estr[eé]s|stress|压力|壓力|ストレス|стресс", "calm"),
    (r"confianza|confiança|confiance|fiducia|selbstvertrauen|selbstbewuss|自信|уверен|ثقة", "confidence"),
    (r"concentr|konzentr|enfoc|\bfoco\b|专注|集中|專注|сосредоточ|تركيز", "focus"),
    (r"feliz|felicidad|glücklich|heureu|felice|felicidade|开心|幸福|快乐|счаст|سعادة", "joy"),
    (r"\bamor\b|\bamour\b|\bamore\b|\bliebe\b|爱|愛|любов|حب", "love"),
    (r"salud|gesund|santé|salute|saúde|健康|здоров|صحة", "health"),
    (r"energ[ií]a|énergie|energie|能量|元気|энерг|طاقة", "energy"),
    (r"\bpaz\b|\bpaix\b|\bpace\b|frieden|和平|平和", "peace"),
)


def understood(goal: str) -> str:
    """The goal in words that can be read; empty when nothing is left that an English voice could say.

    A goal of another language becomes the English words for what it seems to be about.
    """
    text = unicodedata.normalize("NFKC", goal).replace("’", "'").replace("‘", "'")
    for pattern, instead in _LOOSE:
        text = pattern.sub(instead, text)
    for pattern in (_MACHINE, _INTRODUCTION, _CHAT):
        text = pattern.sub(" ", text)
    text = re.sub(r"[^\W\d_]+", lambda word: _spelled(word[0]), text)
    return _told_in_english(text) if _is_foreign(text) else text


def _spelled(word: str) -> str:
    return _SLIPS.get(word.lower(), word)


def _is_foreign(text: str) -> bool:
    lower = text.lower()
    foreign = set(_FOREIGN.findall(lower))
    if foreign:
        return len(foreign) > len(set(_ENGLISH.findall(lower)))
    return not re.search(r"[a-z]{3}", lower) and any(letter.isalpha() for letter in lower)


def _told_in_english(text: str) -> str:
    found = [(match.start(), word) for pattern, word in _TOLD if (match := re.search(pattern, text.lower()))]
    return ", ".join(dict.fromkeys(word for _, word in sorted(found)))
