"""From what somebody struggles with, in their own words, to a plain name for it that can stand inside a sentence."""

from __future__ import annotations

import re

from media.affirmation_rules import keywords, line_violations
from media.lexicon import HEAVY, QUALITIES, VERB_OF, VERBS
from media.understanding import understood

_NAMES = (
    (r"imposter|impostor|self.?doubt|doubt|not (?:good|smart|clever|pretty|strong) enough|fraud", "self-doubt"),
    (r"(?:voice|hands?|legs?|knees?)\b[^.]{0,20}\b(?:shak|trembl|crack)|shaky|trembl", "a shaking voice"),
    (r"stage fright|stage.?fear", "stage fright"),
    (r"blush|go red|turn red|face gets red", "blushing"),
    (r"mind goes blank|go blank|freez(?:e|ing)\b|forget (?:everything|what|my|words)", "a blank mind"),
    (r"overthink|ruminat|racing (?:mind|thoughts)|mind (?:races|is racing|won't|doesn't)", "overthinking"),
    (r"panic", "panic"),
    (r"anxi|nervous|on edge|jitter", "anxiety"),
    (r"money|debts?\b|bills|rent\b|broke\b|losing my job|financ", "worry about money"),
    (r"fear|afraid|scared|terrified|phobi", "fear"),
    (r"overwhelm|stress|pressure|too much", "stress"),
    (r"worr", "worry"),
    (r"procrast|lazy|putting (?:\w+ )?off|put (?:\w+ )?off|can't start|never start", "delay"),
    (r"snooze|get(?:ting)? up|out of bed|mornings", "heaviness"),
    (r"perfection", "perfectionism"),
    (r"crav|sugar|sweets|snack|binge|overeat|eat when", "a craving"),
    (r"temper|yell|shout|snap at|ang(?:er|ry)|rage|irritab", "anger"),
    (r"ghosted|reject|turned down|nobody wants|left out", "rejection"),
    (r"divorc|break-?up|my ex\b|heartbr|cheated", "heartbreak"),
    (r"lonel|alone|isolat|no friends", "loneliness"),
    (r"burn.?out|exhaust|tired|fatigue|no energy", "tiredness"),
    (r"grie[fv]|died|death|lost my|losing (?:my|her|him)|loss\b|miscarr|miss (?:him|her|my)", "grief"),
    (r"insomni|sleep|awake at|wake up at|nightmare", "restlessness"),
    (r"sad\b|sadness|depress|empty|numb\b|cry(?:ing)?\b|tears", "sadness"),
    (r"sham|guilt|embarrass", "shame"),
    (r"critic|hate my(?:self)?\b|ugly|stupid|mirror|fat\b|compar(?:e|ing)", "self-criticism"),
    (r"phone|scroll|social media|instagram|tiktok|distract|can't focus|adhd|scatter|focus|concentrat", "distraction"),
    (r"talk(?:s|ed)? over me|interrupt|ignored|not heard|nobody listens", "being interrupted"),
    (r"fight|argu|conflict|custody", "conflict"),
    (r"fail|mistake|flunk|setback", "a setback"),
    (r"pain\b|hurts?\b|ache|migraine", "pain"),
    (r"ill\b|illness|sick|hospital|surgery|diagnos|results", "uncertainty"),
    (r"no time|busy|too little time|schedule", "a full schedule"),
    (r"unsure|uncertain|don't know|decid|decision|lost\b|stuck|confus", "uncertainty"),
    (r"shy\b|introvert", "shyness"),
    (r"alcohol|drink|wine|beer", "the urge to drink"),
    (r"smok|cigar|nicotin|vap(?:e|ing)", "the urge to smoke"),
    (r"jealous|envy", "jealousy"),
    (r"bor(?:ed|edom)\b", "boredom"),
    (r"change\b|moving\b|new (?:city|job|school)", "change"),
    (r"estr[eé]s\b|\bstress", "stress"),
    (r"ansiedad|angst\b", "anxiety"),
)
_MOST = 2
_NO_NOUN = ("al", "less", "ful", "ous", "ive", "ed", "ly", "able", "late", "ing", "ish")


def struggles_of(text: str) -> list[str]:
    """Plain words for what someone struggles with, in their order, two at most; empty when none can be said."""
    lower = " ".join(text.lower().replace("’", "'").split())
    found = [(match.start(), name) for about, name in _NAMES if (match := re.search(rf"\b(?:{about})", lower))]
    names = list(dict.fromkeys(name for _, name in sorted(found)))[:_MOST]
    return names or _as_said(text)


def _as_said(text: str) -> list[str]:
    """A struggle of one plain noun, as it was put: not what somebody is or does, and not many things."""
    words = re.findall(r"[^\W_]+(?:'\w+)?", understood(text).lower())
    if len(words) != 1 or words != keywords(text) or words[0] in {*VERBS, *VERB_OF, *QUALITIES, *HEAVY}:
        return []
    other = words[0].endswith(_NO_NOUN) or (words[0].endswith("s") and not words[0].endswith(("ss", "is", "us")))
    return [] if other or line_violations(f"{words[0]} x x x x x") else words
