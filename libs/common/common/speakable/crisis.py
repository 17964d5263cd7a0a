"""Expressions of a crisis in everyday words, misspelt ones among them: who says one is shown where help is.

Better one kind message too many than one too few; only what clearly means something else is let pass.
"""

from __future__ import annotations

import re

from common.speakable.danger import DANGER
from common.speakable.spellings import any_of
from common.speakable.weighing import weighs_as_crisis

# What follows tells that life in general is not meant: to live in fear, to wake up late, to be here on time.
_SOMEHOW = (
    r"(?! (?:but|where|up|out|it|together|fully|beyond|just|only|inside|apart|abroad|well|longer|better|in|with|at|on"
    r"|for|from|here|there|alone|by|off|near|under|next|without|up to|paycheck|paycheque|as|so|my|a|the|according"
    r"|through|tired|late|early|before|to|feeling|groggy|exhausted|anxious|angry|stressed|sad|hungover|every|already|sore|sweaty"
    r"|worried|dreading)\b)"
)
_REFUSING = r"(?:do not|don't|did not|didn't|no longer|not)"
_FILLERS = r"(?:(?:want|wanted|wish|feel|like|keep|deserve|to|really|even|go|on|care|be|able|anymore) ){0,4}"
_NOT_REFUSED = r"(?<!people who )(?<!those who )(?<!don't )(?<!not )(?<!never )(?<!didn't )(?<!dont )"
_LATER = r"(?! (?:of|for|trying|happy|old|laughing|my hair|on stage|one day|someday|alone|a|as|with|at home|in peace))"
_PILLS = r"(?:pills|meds|tablets|medication|sleeping pills)"

_GAP = r"(?: (?!my|his|her|our|the|a|an|of|from|who|about|for|because|afraid|fear|scared|after|before)[\w']+){0,5}"
"""Words between, while the sentence is still about its speaker."""
_DYING = (
    r"(?:die|dying|dead|death)\b(?! (?:of|for|to|laughing|hard|tired|lift|line|set|serious|last|sure|beat|calm|inside"
    r"|happy|old|on stage|one day|someday|alone|at home|in peace|with|metal|down|a|my)\b)"
)
_GONE = r"(?:gone|dead|not (?:here|around|alive|in it)|no longer (?:here|around|alive|with them))"
_NOT_THERE = r"(?:wasn't|weren't|was not|were not|wasnt|am not|'m not) (?:here|around|alive|in it|in this world)"

_SAYINGS = any_of(rf"""
    \b(?:kill|harm|hang|shoot|drown|poison|strangle|stab|unalive|off)(?:ing)? myself\b
    \b(?:hurt|hurting) myself\b(?! (?:at|in the|on the|running|playing|lifting|skiing|skating|dancing|training))
    \bcut(?:ting)? myself\b(?! (?:some|a|loose|off|free|out|in|open to|shaving|cooking|while|down|from))
    \bself[- ]?harm\w*\b
    \bunalive\b
    \b(?:want to|going to|should|just|gonna|might|will) kms\b
    (?:^\W*|[.,!?] |\b(?:i'll|imma|ima|might as well|i'd|i might|to) )kms\b(?!.*\d)(?! (?:of|per|before|a|in|on)\b)
    \b(?:sewer ?slide|toaster bath|ctb|self[- ]?delet\w*)\b
    \b(?:neck|rope) myself\b
    \b(?:gonna|going to|want to|might|tried to) (?:od|overdose)\b
    \bsuicid\w*
    \b(?:end|ending|take|taking|took) my (?:own )?life\b(?! (?:back|into|seriously|to|in|story|of|as|goals?)\b)
    {_NOT_REFUSED}\b(?:want|wanted|wish|ready|going|rather|like|prefer|hoping|need) to die\b{_LATER}
    \bfeel(?:ing)? like dying\b(?! my)
    \b(?:think|thinking|thoughts|dream|dreaming) (?:about|of) (?:dying(?! my)|killing myself|ending (?:it|things
    + |everything|my life)\b(?! with))
    \b(?:wish|wished) i (?:was|were|am) (?:dead|never born|not (?:here|alive|born))\b
    \b(?:wish|wished) i (?:wasn't|weren't|had never been) (?:alive|here|born)\b
    \b(?:wish|hope|hoping|pray) (?:that )?i (?:do not|don't|didn't|won't|wouldn't|never
    + |could just not) wake up\b{_SOMEHOW}
    \b(?:want to|want to just|just want to|rather|wish to|should|deserve to|ready to) be dead\b
    \b(?:if|when) i (?:was|were|am|'m) (?:dead|no longer (?:here|alive))\b
    \b(?:no one|nobody) (?:would|will) (?:miss me|care|notice|even notice) if i\b
    \b(?:world|family|kids|everyone|everybody|people|they|husband|wife|parents) (?:is|are|would be|will be
    + |is) (?:better|happier)(?: off)? (?:without me|if i (?:wasn't|weren't|was (?:not|gone|dead)|were (?:not|gone
    + |dead)|died|disappeared|vanished|left|didn't|had never|never|killed|just))\b
    \bbetter off (?:dead|without me)\b
    \b(?:no|any|not a|without a) (?:reason|point)(?: left)? (?:to live|for living|to go on|in living|to keep living
    + |in going on|to be alive)\b
    \bnothing (?:left )?to live for\b
    \blife (?:is not|isn't|is no longer|has no|is hardly) worth (?:living|it)\b
    \bnot worth living\b
    \b(?:{_REFUSING}|can't|cannot|never) {_FILLERS}(?:live|living|be alive|being alive|exist|existing)\b{_SOMEHOW}
    \b(?:let me|rather|could) (?:just )?not (?:be alive|wake up|exist)\b{_SOMEHOW}
    \bhad enough of (?:life|living|it all)\b{_SOMEHOW}
    \b(?:wish|want) (?:that )?my life (?:would|to) (?:end|stop|be over)\b
    \b(?:ready|want|going|time|decided) to end it\W*$
    \b{_REFUSING} want to (?:live|be here|be on this earth|do life|exist|live like this) any ?more\b
    \b{_REFUSING} want to (?:wake up|be on this earth)\b{_SOMEHOW}
    \b(?:can't|cannot|can not) (?:go on|live like this|take life|do life)(?: any ?more| any longer
    + | like this)(?= (?:and|i|please|because|so|but)\b|\W*$)
    \b(?:can't|cannot|can not) go on\W*$
    \b(?:never|not) (?:have to )?wak(?:e|ing) up (?:again|any ?more|ever)\b
    \b(?:and|to) (?:not|never) wake up\b{_SOMEHOW}
    \b(?:go to )?sleep forever\b(?! on)
    \bend(?:ing)? it all\b
    \b(?:happier|better off|easier) dead\b
    \boverdosed\b(?! on (?:sun|work|cake|chocolate))
    \b(?:nobody|no one) (?:will|would|is going to) (?:even |ever )?miss me\b(?! (?:at|in) )
    \b(?:method|way|ways) to kill (?:yourself|oneself|myself)\b
    \b(?:any|a|the) (?:point|sense|use) (?:in|of|to) (?:stay(?:ing)? alive|be(?:ing)? alive|living on
    + |go(?:ing)? on)\b{_SOMEHOW}
    \bmy life has no (?:meaning|purpose|sense|point)\b.{{0,25}}\b(?:done|over|end|out|finish)
    \bplan(?:ning|ned)?\b.{{0,15}}\b(?:i'd|i would|to) end it\W*$
    \bwant (?:it|everything|this) all to (?:end|stop|be over)\b
    \bwant everything to (?:end|be over)\b
    \b(?:i am|i'm|so|just|been) (?:tired|sick) of (?:living|being alive|life|existing)\b{_SOMEHOW}
    ^\W*tired of (?:living|being alive|life|existing)\b{_SOMEHOW}
    \bdone (?:with )?(?:life|living|being alive)\b{_SOMEHOW}
    (?<!never )(?<!not )(?<!don't )(?<!to not )\bgiv(?:en|ing|e) up on life\b
    \bdisappear (?:forever|for good|from this (?:world|earth|life))\b
    \b(?:don't|do not|can't|cannot|no longer|never) (?:see|have|imagine|picture|want) (?:a|any|my
    + |much of a)? ?future(?: for (?:me|myself))?(?: any ?more)?\W*$
    \b(?:don't|do not|can't|cannot|no longer|never) (?:see|imagine|picture) (?:a|any|my) future for (?:me|myself)\b
    \bburden\b.{{0,60}}\b(?:relieved|better off|happier|gone|without me|not here|dead)\b
    \b(?:they|they'd|everyone|everybody|family|kids|people|it)\b.{{0,25}}\b(?:relieved|happy|glad|better|happier
    + |easier) (?:off )?(?:if|when|once) i(?:'m| was| were| am|'d be)? (?:gone|dead|not (?:here|around|alive))\b
    \bmeet my maker\b
    \bkys\b
    \b(?:i'd|would|want to|wanna) (?:just )?rather be gone\b(?! (?:from|to|for)\b)
    \bend things\b(?= (?:once|after|when|tonight|for good))
    \b(?:wish|hoped|wished) (?:\w+ ){{1,3}}(?:had |would have )?killed me\b
    \breason to stay\W*$
    \b(?:don't|do not) (?:want to|wanna|care to|need to) see (?:tomorrow|the morning|another \w+)\b
    \bbe with (?:\w+ ){{1,3}}in heaven\b(?! (?:one day|some ?day|when))
    \bwaiting to die\b
    \bfavou?r by (?:dying|being gone|leaving this)
    \b(?:this|next) (?:day|night|week|month|year|birthday|christmas|spring|summer|autumn|winter|holiday|sunset|message
    + |post)? ?(?:is|will be) my last\W*$
    \b(?:part|some|most|half|all) of me (?:just |still |really )?(?:wants?|wishes|longs
    + |hopes) (?:to )?(?:be )?{_DYING}
    \b(?:think|thinking|thoughts|obsess\w*|dream\w*|fantasi\w*) (?:about
    + |of) (?:\w+ )?(?:is )?(?:my (?:own )?)?(?:death|dying)\b(?! (?:of|before|my|and taxes))
    \bmy own funeral\b
    \b(?:come|cry|show up) (?:to|at) my funeral\b
    \b(?:no|lost (?:my|the|all)|don't have (?:the|any|a)|without (?:the|any)|losing (?:my|the)) will to (?:live|go on
    + |carry on|be here)\b
    \b(?:can't|cannot|don't want to|couldn't|not) (?:even )?(?:imagine|face|do|get through|survive|bear|take
    + |live) (?:living )?another (?:day|week|month|year|night|minute|hour)(?: (?:of (?:this|life|pain|living)
    + |like this|alive|here|on earth))?\W*$
    \b(?:i'd|they'd|they would|they'll|everyone'd|world'd|would|will) be (?:\w+ )?(?:ok|okay|fine|better|happier|good
    + |safer) (?:off )?without me\b
    \b(?:nobody|no one) (?:\w+ )?(?:needs|wants|would miss|loves) me (?:here|alive|around|on this earth
    + |in this world)\b
    \b(?:don't|do not|never|can't) belong (?:on|in) this (?:planet|world|earth|life)\b
    \b(?:planet|earth|world|life|this body|existence)\b.{{0,15}}\b(?:and|i|just) (?:\w+ )?want out\b
    \b(?:check(?:ing)? out|exit|leav(?:e|ing)|escap(?:e|ing)|opt(?:ing)? out|depart) (?:of |from )?(?:this
    +  |my )(?:life|world|earth|planet)\b(?! (?:of|better|cleaner|a )\b)
    \b(?:tired|sick|weary|exhausted) of (?:breathing|waking up|my existence|surviving|this life
    + |staying alive)\b{_SOMEHOW}
    \b(?:take|call|bring) me (?:home |now |away )*(?:tonight|now|already|from this (?:world|earth|life)),?(?: god
    + | lord| please)*\W*$
    \b(?:god|lord|please|jesus)\b,?(?: please)? (?:just )?(?:take|call) me (?:home|away|tonight|now|back)\b(?! to\b)
    \blet go of the (?:wheel|rope|railing|handrail)\b
    \b(?:worthless|useless|nothing|burden|monster|waste of (?:space|air|oxygen))\b.{{0,20}}\b(?:should(?: not|n't)
    + |don't deserve to|not worth) (?:exist|live|be (?:here|alive|born)|living)\b
    \bdead inside\b.{{0,30}}\b(?:real|outside|too|finish|done)\b
    \blost (?:all|every|any) hope\b.{{0,30}}\b(?:done|don't want|no more|goodbye|over|end|give up)\b
    \b(?:they|everyone|he|she|you|people) ?(?:'ll|will|would|'d)? (?:all )?(?:be|feel) (?:so )?sorry (?:when|if
    + |once) i(?:'m| am) (?:gone|dead)\b
    \b(?:do|did|done|doing) (?:something |anything )?(?:\w+ )?to (?:hurt )?myself\b(?=.{{0,15}}(?:tonight
    + |\W*$))(?<!good to myself)(?<!nice to myself)(?<!kind to myself)
    \b(?:i am|i'm|so) (?:not safe|unsafe) (?:with|from|around) myself\b
    \b(?:afraid|scared|terrified) of (?:what i|myself tonight)(?:(?: might| may| could| will
    + |'ll)? do)?\b(?=.{{0,25}}\b(?:myself|tonight|them|her|him)\b)
    \b(?:my plan|the plan|plan(?:ning|ned)?|going|decided) (?:is )?to (?:just )?do it (?:after|before|on|when
    + |once) (?:the |my )?(?:holidays?|christmas|birthday|funeral|kids|he|she|they|everyone)\b
    \b(?:sleep|rest|gone) for (?:good|ever)\W*$
    \b(?:i|i'm|i'd|i've|me)\b{_GAP} (?:want|wish|hope|hoping|rather|better|deserve|should|ready|planning|decided
    + |tempted|longing|waiting|pray|praying|supposed|about|going|need|prefer|determined)\b{_GAP} {_DYING}
    \bdeath (?:is|sounds?|seems?|feels?|looks?|would be|will be) (?:\w+ ){{0,3}}(?:peaceful|easier|better|nice|relief
    + |good|only|calling|way|answer|escape|comforting|inviting|welcome)
    \b(?:relieved|happy|glad|better(?: off| place)?|happier|easier|care|cares|miss me|notice|cry)\b.{{0,20}}\b(?:if
    + |when|once) i(?:'m|'d be)?(?: just| simply| was| were| am| be)* {_GONE}\b
    \bif i (?:just |simply )?{_NOT_THERE}(?: any ?more)?\b(?! (?:in (?!it|this world)|at|with|on))
    \bbetter off (?:gone|not (?:here|alive|being here))\b
    \b(?:don't think|doubt|don't believe|not sure) (?:that )?(?:i'll|i will|i'm going to
    + |i am going to) (?:be (?:around|here|alive)|live|make it|see|last)\b(?! (?:on|at) )
    \bwhy (?:am i|i'm|i am) (?:\w+ )?(?:still )?(?:alive|living|here on (?:this )?earth|even here)\b(?! (?:at|in|on
    + |with|for)\b)
    \b(?:not|isn't|aren't|don't|can't|cannot|never|too tired|too hard|hardly)\b{_GAP} (?:keep|go on|carry on|continue
    + |stay) (?:living|alive)\b{_SOMEHOW}
    \bcan't (?:keep|go on) (?:living|being|doing) (?:like )?this\b
    \bend (?:my|this|the|all) (?:suffering|misery|pain|agony)(?: (?:permanently|forever|for good|once and for all
    + |tonight|now))+\b
    \b(?:let|make|hope|wish|pray|want) (?:\w+ )?(?:this|today|tonight|tomorrow) (?:to )?be my last(?: (?:night|day
    + |one))?\W*$
    \bmy last (?:day|night)\b.{{0,30}}\b(?:decided|planned|chosen|ready|peace|goodbye|alive)\b
    \b(?:wr[oi]te|writing|written|left|leaving|leave|finished) (?:\w+ )?(?:letters?|notes?) (?:to|for) (?:everyone
    + |everybody|my (?:\w+ )?(?:family|kids|parents|children|loved ones|friends|wife
    + |husband))\b.{{0,40}}\b(?:ready(?! for)|goodbye|gone|tonight|find (?:it|me|them)|after i)\b
    \b(?:can't|cannot|can not) (?:do|take|bear|stand|handle|face) (?:this|it|life|it all
    + |this life)(?: all)? (?:any ?more|any longer)(?:\W*$|\W+(?:i'm|i am) (?:so |just )?(?:done|tired|over it)
    + |\W+(?:please|goodbye|bye)\b)
    \b(?:done|finished|through) with (?:everything|it all|this (?:world|life)|all of it)\b(?! (?:on|at|in|that|by|i
    + |to)\b)
    \b(?:want to|wish to|wish i|could|like to|going to|can i) (?:just |could |could just )?(?:stop|cease
    + |quit) (?:to )?(?:exist(?:ing)?|breathing|living|being (?:here|alive))\b{_SOMEHOW}
    \blife (?:is|feels|seems) (?:so |just )?(?:pointless|meaningless|worthless|hopeless|empty)\b.{{0,25}}\b(?:want out
    + |done|over|end|any ?more|leave)\b
    \bno reason(?: left)? to (?:wake up|get up|be here|stay alive|stay here|exist|carry on)\b{_SOMEHOW}
    \bnothing (?:is )?(?:left )?for me (?:here|in this (?:world|life))(?: any ?more)?\W*$
    \b(?:the|this|all (?:the|this)|my) pain to (?:just )?(?:stop|end|be over) (?:for good|once and for all
    + |tonight)(?: tonight)?\W*$
    \b(?:please|someone|somebody|god) (?:just )?end me\b
    \bcut(?:ting)? my (?:arms?|skin|thighs?|legs?)\b(?! (?:workout|day|hair))
    \b(?:wish|hope|pray|want) (?:that )?(?:someone|somebody|an? (?:car|bus|truck|train|lorry)|god|lightning
    + |something) (?:would|could|to) (?:just |please )?(?:kill|hit|shoot|take|strike|run over) me\b
    \b(?:no|what's the) point (?:to|of|in) my life\b
    \b(?:better|easier|happier) (?:\w+ ){{0,3}}(?:to be dead|if i (?:was|were|had) never (?:been )?born|being dead)\b
    \bwant to be gone(?: forever)?\W*$
    \b(?:suffering|pain) by dying\b
    \btempted to jump\W*$
    \bsay(?:ing)? (?:goodbye|good bye) to everyone\b(?! (?:at|in|from|on) )
    \b(?:be with|join|see) my (?:dead|late|deceased) \w+(?: again)?\W*$
    \b(?:should|deserve to|let me|hope i|wish i could|want to just) (?:just )?(?:be dead|die)\b(?! (?:of|laughing|down
    + |my))
    \bif i (?:died|disappeared|killed myself|was gone|were gone)\b(?! (?:from|for|on))
    \b(?:good ?bye|farewell|suicide|last) (?:note|letter)s?\b(?! (?:of|for (?:a|my) (?:job|class|school|work)
    + |to (?:my (?:old|former|past|younger|job|ex|fears?|habits?)|\w+ing|sugar|alcohol))\b)
    \bgood ?bye,? (?:cruel )?world\b
    \blast night (?:on earth|alive)\b
    \bplan(?:ning|ned)? my (?:own )?death\b
    \b(?:started|keep|kept|been|back to|relaps\w+|urge to|stop|stopped) (?:with |into )?cut(?:ting)?(?: again)?(?:\W*$
    + | when)
    \bcutting (?:helps|calms|relieves)\b
    \bburn(?:ing)? (?:myself|my (?:arms?|skin|legs?)) (?:with|on purpose|to feel)\b
    \b(?:hate|regret|hating) being alive\b
    \bbeing alive (?:hurts|is (?:pain|torture|hell|too))
    \b(?:no|what's the|what is the|whats the|see the) (?:point|use) (?:of|in) (?:living|life|being alive
    + |going on)\b{_SOMEHOW}
    \b(?:no|don't (?:see|have|find) (?:a|any)) reason to (?:keep|go on|continue) (?:living|going|on)?
    \bwant (?:my |this )?life (?:to be )?(?:over|to end|to stop)\b
    \bhate my life and want (?:it|out)
    \bgun to (?:end|my head)
    \bend it (?:tonight|now|today|for good)\b
    \bcrash (?:my|the) car on purpose\b
    \bdriv(?:e|ing) (?:my car )?(?:off|into) (?:a|the) (?:bridge|cliff|tree|wall)\b
    \b(?:drink|drinking|starve|starving) myself to death\b
    \bpain to (?:stop|end) forever\b
    \bno (?:other )?way out (?:but|except)\b(?! (?:through|up|forward)\b)
    \bjump(?:ing)? (?:off|from) (?:a|the|my) (?:bridge|building|roof|balcony|cliff to die)\b
    \bjump(?:ing)? in front of (?:a|the) (?:train|bus|car|truck|subway)\b
    \boverdos(?:e|ing) (?:on|myself|tonight)\b(?! (?:sun\w*|work|joy|love|fun|chocolate|kindness|vitamin\w*|music))
    \b(?:take|taking|swallow|swallowing|took) (?:all|a bottle|the whole bottle) (?:of )?(?:my
    +  |the )?{_PILLS}\b(?! (?:on time|every|daily|as|in the))
    \b(?:slit|slitting|slash|slashing|cut|cutting) my (?:wrists?|throat)\b
    \bstarv(?:e|ing) myself\b(?! of)
    \b(?:make|making) myself (?:throw up|vomit|puke|sick after)\b
    \bpurg(?:e|ing) after\b
    \b(?:quiero|quisiera|deseo) morir
    \bsuicidar
    \bmatarme\b
    \bno quiero (?:vivir|seguir viviendo)\b
    \b(?:will|möchte|mag) (?:einfach |nur )?(?:sterben|nicht mehr leben|tot sein)\b
    \bumbringen\b
    \bselbstmord\b
    \b(?:veux|voudrais) mourir\b
    \bme tuer\b
    \bplus envie de vivre\b
    \b(?:quero|queria) morrer\b
    \bme matar\b
    \bvoglio morire\b
    \buccidermi\b
    死にたい
    消えたい
    想死
    不想活
    自殺
    自杀
    хочу умереть
    не хочу жить
    покончить с собой
    أريد أن أموت
""")
_NAMED = re.compile(r"suicid|self")
_OF_OTHERS = re.compile(
    r"\b(?:prevent\w*|survivors?|awareness|hotline|help ?line|volunteer\w*|help(?:ing)? (?:others|people)"
    r"|(?:died|death) (?:by|from)|los(?:e|t|ing|s)\b.{0,30}\b(?:to|by|from)|suicide (?:of|loss)"
    r"|(?:after|since|grieve|grieving|forgive) (?:my|the|his|her) (?:\w+ )?(?:suicide|\w+'s suicide)"
    r"|(?:days?|weeks?|months?|years?|clean|sober) (?:clean )?(?:from|of|since|without) self"
    r"|(?:my|his|her) \w+'s suicide|(?:recover(?:ed|y)|healed|recovering) from self"
    r"|(?:my|a|his|her) (?:son|daughter|friend|sister|brother|wife|husband|partner|mother|father|mom|dad|student|child"
    r"|teen)s?(?: who)? (?:is |feels )?(?:suicid\w*|self[- ]?harm\w*))\b"
)


def is_crisis(text: str) -> bool:
    """Whether somebody seems to be in a crisis or in danger themselves; ``text`` one of its `spellings.readings`.

    The word for it may be said of others, or of what is over; what is said of oneself in other words is never that.
    """
    of_others = _OF_OTHERS.search(text) is not None
    said = any(not (of_others and _NAMED.match(found[0])) for found in _SAYINGS.finditer(text))
    return said or DANGER.search(text) is not None or (not of_others and weighs_as_crisis(text))
