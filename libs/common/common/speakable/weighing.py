"""What no saying foresees: words of dying, of wounds and of despair weighed together, one sentence at a time.

A single word proves nothing, so each kind counts once, and what shows that others are meant or that it is a manner of
speaking counts against it.
"""

from __future__ import annotations

import re

from common.speakable.spellings import any_of

ENOUGH = 3

_DYING = any_of(r"""
    \bdie\b
    \bdying\b
    \bdead\b
    \bdeath\b
    \bsuicid\w*
    \bun(?:alive|live)\b
    \boverdos\w*
    \bnoose\b
    \bmy own life\b
    \bhang(?:ing)? (?:myself|from)\b
    \b(?:kill|end|drown|shoot) (?:me|myself)\b
    \bcan't (?:just )?live\b
    \blive with this\b
    \bfuneral\b
    \bmy (?:grave|coffin)\b
    \b(?:vanish|disappear|gone)\b
    \bnot (?:wake up|be here|exist)\b
    \bwon't (?:be here|see|wake)\b
    \bmy will\b
    \bif i live\b
    \bto live\b
    \bliving\b
    \bbe alive\b
    \bbeing alive\b
    \bstay alive\b
    \bstill alive\b
""")
_WOUNDS = any_of(r"""
    \bself[- ]?harm\w*
    \b(?:cut|cuts|cutting|burn|burns|burning|carve|carving|bite|biting|scratch|scratching|hit|hitting|punch|punching
    + |stab|stabbing|hurt|hurting|bruise|bruising|starve|starving) (?:\w+ ){0,2}(?:myself|my (?:arms?|wrists?|legs?
    + |skin|thighs?|head|face|body|stomach))\b
    \b(?:knife|razor|blade|pills|tablets|rope|gun|bridge|tracks)\b
    \bcarve \w+ into\b
    \bcar into a\b
    \bfrom the ceiling\b
    \b(?:purge|purging|starve|starving|chew and spit|throw up|vomit|laxatives?|stopped eating|not eat|don't eat
    + |every bite)\b
""")
_HARMED = any_of(r"""
    \b(?:he|she|they|wife|husband|boyfriend|girlfriend|partner|ex|father|dad|mother|mom|mum|uncle|brother|step\w+
    + |parents|teacher|coach|boss|manager|adult|man|someone|somebody)\b(?: \w+){0,4} (?:hits|beats|chokes|rapes
    + |gropes?|touches|kicks?|threatens|hurts|abuses|molests|punches|slaps|forces|traps|locks|burns|strangles) (?:me
    + |us)\b(?! (?:to|in|at|out|up|with|by|deeply|on the back)\b)
    \b(?:trapped|live|living|alone|stuck|locked) (?:\w+ )?with (?:an? |my )(?:\w+ )?(?:violent|abusive|dangerous
    + |aggressive)\b
    \b(?:violent|abusive) (?:man|woman|husband|wife|partner|boyfriend|girlfriend|father|mother|home
    + |relationship)\b.{0,20}\b(?:trapped|scared|afraid|escape|hiding)\b
    \bgropes me\b
    \brapes me\b
    \bmolests me\b
""")
_DESPAIR = any_of(r"""
    \b(?:don't|do not|no longer|can't|cannot|couldn't) (?:even )?(?:care if|live|see|find|go on|stand|bear|want|feel
    + |cope|take|face|stop)\b
    \b(?:easier|relief|over|peaceful|escape|ease|permanent\w*)\b
    \b(?:no|any|a single|one|the) (?:reason|point|way out|hope|future)\b
    \b(?:what's|whats|what is) the point\b
    \bnothing (?:helps|matters|left)\b
    \bno one (?:knows|cares|would)\b
    \bnobody (?:knows|cares|would)\b
    \b(?:hurts? so|so much pain|this pain|the pain|in pain|too painful|unbearable|too much)\b
    \b(?:hate|disgust\w*|punish|ashamed|deserve)\b
    \b(?:worthless|burden|useless|hopeless|free of me|without me|better than me|never come back|any ?more
    + |any longer)\b
    \b(?:tonight|tomorrow|next (?:week|month)|date set|arrive|ordered|decided|on sunday|already planned)\b
    \b(?:wish|hope|pray|hoping|praying|want|need|help me|please|picturing|rather|thinking|imagining|keep seeing)\b
    \b(?:on|to|into) (?:myself|my skin)\b
    \b(?:feel calm|feel something|feel better|control|gain weight|stressed|lonely|alone|drunk|scared|trapped|bruise
    + |bleed)\b
""")
_OTHERWISE = any_of(r"""
    \b(?:fear|afraid|scared|anxiety|phobia|worry|worried|worrying|panic) (?:of|about|that|over)\b
    \bfear\b
    \b(?:stop|quit|instead of|never|less) (?:\w+ )?(?:worrying|fearing)
    \b(?:my|his|her|our|the|a|an) (?:\w+ )?(?:mom|mum|mother|dad|father|grand\w+|dog|cat|pet|horse|plants?|friend
    + |brother|sister|son|daughter|husband|wife|partner|uncle|aunt|baby|patients?|battery|phone|client|marriage
    + |relationship|garden|fish|loved ones?)(?:'s)?(?: \w+){0,4} (?:die[sd]?|dying|dead|death|gone|funeral|suicide
    + |killed|alive|live|living)\b
    \b(?:grie[fv]\w*|mourn\w*|bereave\w*|widow\w*|hospice|palliative|loss of|death of|lost (?:my|our|a)|passed away)\b
    \b(?:dying|die|dead|live|living) (?:to (?:\w+ )?(?:see|know|try|meet|go)|of|for|laughing|hard|tired|lift\w*|line
    + |end|set|weight|serious|sure|beat|air|in|at|with(?! this)|by|on|as|like|from|without|here|there|alone|near|off
    + |abroad|together|more|better|well|longer|healthier|long|up|room|out(?! of)|happily|fully|simply|freely|life|my|a
    + |the|through|space|conditions|wage|within|below|according|every|today|tomorrow)\b
    \b(?:cost|standard|way|joy|art|love|make a|earn a|for a|fear of|enjoy|healthy|mindful|slow|good|independent|clean
    + |simple|minimalist|sober) (?:of )?living\b
    \b(?:want|need|have|choose|love|learn|reason|place|somewhere|way|chance|excited|grateful|lucky|happy|ready|glad
    + |joy|plan|hoping|hope) to live\b(?! with this)
    \b(?:to (?:be|feel|stay) alive|feel(?:ing)? alive|alive and|being alive)\b(?! (?:any|hurts|is))
    \b(?:stop|quit|not|without|avoid|never|recover\w*|heal\w*|over|beat|used to|years? (?:of|since|ago)|clean|free
    + |end my) (?:\w+ ){0,3}(?:starv\w+|purg\w+|cutting|self[- ]?harm\w*|biting|scratching|vomit\w*|throw\w* up
    + |disappear\w*|overdos\w*|hitting|hurting|not eating)
    \b(?:wardrobe|closet|emails?|kitchen|chef|cook|wood\w*|nails|lip|pumpkin|calories burned|fat|muscle|gym|workout
    + |boxing|heavy bag|sunshine|work|novel|stage|film|metal|game|chess|climb\w*|rope skipping|jump rope|nail gun
    + |glue gun|vitamin\w*|blood pressure|on time|doctor)\b
    \bmy will (?:power|to|without|and|is)\b
    \bwrite my will\b
    \bfree will\b
    \bgone (?:well|by|wrong|right|through|are the|for|to)\b
    \b(?:have|had|has|is|are|be|days) (?:\w+ )?gone\b
    \b(?:pills|tablets) (?:a|per|every) (?:day|week)\b
    \b(?:vanish|disappear) (?:when|in a crowd|on stage)\b
    \b(?:die|dying) (?:my|her|his) (?:hair|beard|eyebrows|roots|clothes|jeans|shoes)\b
    \bdisappear(?:s|ed)? (?:into|from (?:social|the)|in a book)
    \b(?:mood|spots?|acne|wrinkles|pain|anxiety|stress|debts?|fears?|doubts?|worr\w+|clutter|tension
    + |money)(?: \w+)? (?:vanish\w*|disappear\w*|gone|die|dead)\b
    \bdead(?:line|lift)\w*
    \bhurt (?:my \w+|myself) (?:at|in|on|while|during|playing|running)
""")
_OF_ONESELF = re.compile(r"\b(?:i|i'm|i'd|i've|i'll|me|my|myself)\b|^\W*(?:want|wish|please|it hurts)")
_SENTENCE = re.compile(r"[.!?;]+")


def weighs_as_crisis(text: str) -> bool:
    """Whether a sentence of ``text`` (one of its `spellings.readings`) says enough, by its words together."""
    return any(_weight(sentence) >= ENOUGH for sentence in _SENTENCE.split(text))


def _weight(sentence: str) -> int:
    if _HARMED.search(sentence):
        return ENOUGH
    grave = [kind for kind in (_DYING, _WOUNDS) if kind.search(sentence)]
    if not grave or not _OF_ONESELF.search(sentence):
        return 0
    despair = len({found[0] for found in _DESPAIR.finditer(sentence)})
    return 2 * len(grave) + min(despair, 2) - ENOUGH * (_OTHERWISE.search(sentence) is not None)
