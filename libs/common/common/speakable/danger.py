"""Danger that is told without naming death: means and places, hunger, wounds, and harm that others do.

What is over and what is healing is let pass: who was hurt once may well want to feel safe again.
"""

from __future__ import annotations

from common.speakable.spellings import any_of

_PILLS = (
    r"(?:(?:sleeping |pain ?)?(?:pills?|meds|tablets?|killers)|medication|tylenol|paracetamol|acetaminophen|ibuprofen"
    r"|advil|aspirin|xanax|benzos|antidepressants|insulin|melatonin)"
)
_POISON = r"(?:bleach|antifreeze|poison|pesticide|drain cleaner|detergent)"
_WEAPON = r"(?:gun|pistol|revolver|shotgun|rifle|rope|noose|belt|razor(?: ?blades?)?|blades?|knife)"
_EDGE = (
    r"(?:(?:train |rail(?:way|road)? )?tracks|(?:train|subway|metro) platform|bridge|ledge|overpass|rooftop|balcony"
    r"|cliff|edge of (?:the|a) (?:roof|cliff|bridge|platform))"
)
_RAMMED = (
    r"(?:(?:on|in)coming|traffic|trains?|trucks?|lorr(?:y|ies)|bus|trees?|walls?|poles?|river|lake|sea|cliff|bridge)"
)
_FALL = r"(?:garage|roof|building|bridge|balcony|window|overpass|tower|cliff|(?:top|\w+th) floor|dam|ledge)"
_LIMB = r"(?:myself|my (?:own )?(?:arms?|wrists?|legs?|thighs?|skin|head|face|stomach|belly|body|hands?|knuckles))"
_ON_PURPOSE = (
    r"(?:bleed\w*|blood|punish|reliev\w*|relief|cope|calms?|helps?|on purpose|deserve|to feel (?:something|anything"
    r"|alive|real)|with (?:a |an |my |the )?(?:cigarettes?|lighter|matches|iron|blades?|razor|knife|scissors|glass))"
)
_NEAR = (
    r"(?:boyfriend|girlfriend|bf|gf|husband|wife|partner|fianc[eé]e?|ex|dad|father|daddy|mom|mum|mother|mommy"
    r"|step ?-?(?:dad|father|mom|mother|brother)|uncle|aunt|brother|sister|cousin|grand(?:pa|father|dad|ma|mother)"
    r"|parents|coach|teacher|boss|manager|pastor|priest|tutor|room ?mate|landlord|son|foster \w+)"
)
_WHO = rf"(?:he|she|(?:someone|somebody)(?: at home| in my (?:house|family))?|(?:my|her|his|the|our) (?:\w+ )?{_NEAR})"
_PARTNER = r"(?:he|she|(?:my )?(?:husband|wife|partner|boyfriend|girlfriend|bf|gf|fianc[eé]e?|ex))"
_HITS = (
    r"(?:hits|beats|chokes|strangles|punches|kicks|slaps|rapes|abuses|molests|gropes|assaults|burns|whips|shoves"
    r"|throws things at|pulls a knife on|threatens|(?:is|keeps) (?:\w+ )?(?:hurting|hitting|beating|choking|abusing"
    r"|raping|touching|threatening|stalking)|forces|controls and threatens)"
)
_HIT = (
    r"(?:hit|beat|choked|strangled|punched|kicked|slapped|raped|molested|groped|assaulted|attacked|burned|shoved|hurt)"
)
_US = r"(?:me|us|my (?:kids?|children|son|daughter|baby)|the (?:kids|children|baby))"
_NOT_MEANT = (
    r"(?! (?:at|to|out|by|in (?!the (?:face|head|stomach|back)|front)|up (?:about|with|for|on)|on the (?:back|shoulder)"
    r"|with(?! (?:a |an |his |her |the )?(?:belts?|stick|cords?|cable|fists?|bottles?|shoes?|hands?|knife|pan)\b))\b)"
)
_SEVERE = (
    r"(?:(?:push|shov|thr[eo]w|drag|slam|knock)(?:es|ed|s|ing)? me (?:down|against|into|across|by|over|to the (?:floor"
    r"|ground|wall))|(?:grab|squeez|choke|bit|slic)(?:s|es|bed|ed|d)? (?:my|me by (?:my|the)) (?:throat|neck|hair|face)"
    r"|(?:puts?|put) (?:his|her|their) hands (?:on|around) (?:me|my)|ma(?:kes?|de) me (?:do (?:sexual )?things|undress"
    r"|touch|watch (?:porn|him|her))|locks? me (?:in|up|out)|(?:pulled|pointed|held) (?:a|the|his|her) (?:gun|knife) "
    r"(?:on|at|to) (?:me|my))"
)
_LATELY = (
    r"(?:again|last night|yesterday|today|tonight|this (?:morning|week|weekend)|every|at night"
    r"|when(?:ever)?(?! (?:i|we) (?:was|were))|and)"
)

DANGER = any_of(rf"""
    \bhow (?:many|much) (?:of )?(?:\w+ )?{_PILLS} (?:would|will|is|are|does|do i|to|can|it)\b.{{0,25}}\b(?:enough|kill
    + |die|lethal|fatal|overdose|safe to mix)
    \b(?:lethal|fatal|deadly) (?:dose|amount|overdose)\b
    \b(?:sav|stash|hoard|collect|stockpil|count)(?:e|ed|es|ing)? (?:up )?(?:all )?(?:my |the |some )?{_PILLS}\b
    \b(?:took|taken|take|taking|swallow\w*|down(?:ed|ing)) (?:too many|way too many|a handful of|handfuls of
    + |a bunch of|a bottle of|\d{{2,}}) (?:of )?(?:my |the )?{_PILLS}\b(?! (?:(?:a|per|every|each) |daily))
    \b(?:pills|meds|tablets) (?:tonight )?(?:to|so i|and) (?:never|not|don't) (?:wake|be|have)
    \b(?:drank|drink|drinking|swallow\w*) (?:some |the |a bottle of )?{_POISON}\b
    \bnoose\b
    \b(?:bought|have|got|found|loaded|there's|there is|keep|holding|hid) (?:an? |the |my |his |dad's
    +  |my dad's )?{_WEAPON}\b.{{0,40}}\b(?:ready|safe|keep (?:looking|staring|thinking)|tonight|use it|end
    + |scared of myself|think(?:ing)? about it|calling|looking at it)
    \b(?:st[ao]nd(?:ing)?|stood|sit|sitting|sat|go(?:ing)?|went|walk(?:ed|ing)?|look(?:ed|ing)?|star(?:e|ed|ing)
    + |driv(?:e|ing))\b.{{0,25}}\b{_EDGE}\b.{{0,40}}\b(?:think|thinking|thought|wonder\w*|imagin\w*|jump\w*|step\w*
    + |letting go|ending)\b(?!.{{0,15}}\b(?:bungee|water|photo))
    \b(?:bridge|building|method) (?:is |all |already )?(?:picked|chosen)\b
    \b(?:picked|chosen|chose) (?:out )?(?:a|the|my) (?:bridge|building|method|way to (?:go|die|do it))\b
    \bhow to die\b(?! (?:well|empty|happy|rich|with)\b)
    \b(?:painless|easi(?:est|er)|quick(?:est)?|fast(?:est)?|best|peaceful) ways? to (?:die|kill|end it)
    \b(?:brave|courage|strength|guts|nerve|balls|strong)(?: enough)?(?: to finally| to just
    + | to) (?:end it\b(?! (?:with|all with|well|now with))|jump\W*$|die\b|pull the trigger|go through with it\W*$
    + |do it tonight)
    \bbleed out (?:in|on|and|alone|tonight)\b
    \b(?:want to|let myself) bleed out\b
    \b(?:think\w*|thought|dream\w*|fantasi\w+|imagin\w+|tempted|urges?) (?:about|of|to) (?:driv|crash|swerv|steer|step
    + |walk|jump|veer|run)(?:e|ing)?\b.{{0,25}}\b(?:into|in front of|off|under)\b.{{0,15}}\b{_RAMMED}\b
    \b(?:driv|swerv|steer|veer|walk|step|jump|run)(?:e|ing|s)? (?:\w+ ){{0,3}}into (?:the )?(?:on|in)coming\b
    \bcrash\w* my car (?:so|on purpose|to (?:look|make|end))\b
    \bvoices? .{{0,20}}\b(?:says?|tells?|telling|told|wants?|order\w*|scream\w*)\b.{{0,25}}\b(?:hurt|kill|harm|die
    + |jump|burn|stab|cut)\b
    \b(?:i|then|and) (?:just |still |only )?cut (?:to|so i|because i|when i) (?:\w+ )?(?:feel|cope|hate|calm|release
    + |am|punish|deserve)
    \b(?:scratch|claw|bit|burn|punch|hit|slap|carv|cut|slic|stab|pinch)(?:e|es|ing|t?ing|ting)? (?:at
    +  |into )?{_LIMB}\b.{{0,35}}\b{_ON_PURPOSE}\b
    \bpunish(?:ing)? myself (?:by|with) (?:hurt|cut|burn|starv|hit|pain|not eat)
    \b(?:haven't|have not|havent|hardly|barely|not) (?:ate|eaten|eating)(?: \w+){{0,4}} (?:days|weeks?)\b
    \b(?:eat|eating|consum\w+|intake|liv(?:e|ing) on|surviv\w+ on|stick to
    + |stay(?:ing)? under)\b[^.]{{0,25}}(?<!\d)(?<!\d[,.])(?:[1-9]\d|[1-7]\d\d) ?(?:k?cals?|calories?)\b(?! (?:less
    + |fewer|more|deficit|breakfast|lunch|snack|dinner|meal|dessert|(?:a|per) meal))
    \b(?:thin|bone|mean)spo\w*
    \bthinspiration\b
    \bpro[- ]?(?:ana|mia)\b
    \b(?:be|weigh|get|getting|drop) (?:down )?(?:under|below|to|less than) (?:2\d|3\d|40) ?(?:kg|kilos?|kgs)\b
    \bpurg(?:e|ing) (?:after|my (?:food|meals?)|every|what i)\b
    \b(?:laxatives?|diet pills) (?:to|until|so) (?:i )?(?:lose|stay|be|get|am)\b
    \bstarv(?:e|ing) (?:until|till|for days|to (?:be|get|feel|look))\b
    \b(?:stop|not|quit) eat(?:ing)? (?:until|till|so) i(?:'m| am)? (?:disappear|vanish|skinny|thin|bones|nothing)
    \b{_WHO} (?:\w+ ){{0,2}}{_HITS} {_US}\b{_NOT_MEANT}
    \b(?:they|(?:my|his|her) (?:parents|brothers|family)) (?:hit|beat|choke|kick|slap|abuse|rape) {_US}\b{_NOT_MEANT}
    \b{_WHO} (?:\w+ )?{_HIT} (?:me|us|my (?:kids?|son|daughter)) (?:up )?{_LATELY}\b(?! (?:at|in) (?:chess|tennis
    + |cards))
    ^\W*(?:i (?:was|got|have been|'ve been)|i've been|{_WHO}) (?:\w+ )?(?:raped|molested|sexually (?:abused
    + |assaulted))(?: me)?(?: by (?:my |a |the )?(?:\w+ ){{0,2}}\w+)? (?:{_LATELY}|\w+ (?:hours?
    + |days?) ago)\b(?! (?:want|i|to|heal))
    \b(?:touch(?:es|ed|ing)|grop(?:es|ed|ing)|fondl\w+) me (?:at night|inappropriately|down there|sexually|in (?:my
    + |the) bed|where|when i(?:'m| am) (?:asleep|sleeping)|when (?:we|nobody|no one|mom|mum|my))
    \b{_WHO} (?:comes?|sneaks?|gets?) in(?:to)? my (?:room|bed)\b
    \b(?:{_WHO}|they|parents) (?:\w+ ){{0,2}}{_SEVERE}\b
    \blocked in (?:my|the|a) (?:\w+ )?(?:room|house|basement|bathroom) by\b
    \b(?:arms?|wrists?|thighs?|legs?) (?:is|are) (?:\w+ )?(?:covered in|full of) (?:\w+ )?(?:cuts|scars|burns)\b
    \b(?:i|i've) purged\b(?! (?:my (?:closet|wardrobe|inbox)))
    \bfeel(?:ing)? like jumping\b.{{0,25}}\b(?:bridge|roof|balcony|platform|window)\b
    \bjump(?:ing)? (?:off|from|out of) (?:\w+ ){{0,3}}{_FALL}\b(?! (?:for fun|into (?:the|my)|scene|safely))
    \b(?:step|jump|walk|throw myself|lie down|run)(?:ping|ing)? in front of (?:\w+[:\d]* ){{0,3}}(?:trains?|trucks?
    + |bus|cars?|trams?|subway|lorry|traffic)\b
    \bif i had a {_WEAPON}\b
    \b(?:do|doing|happen|ends?|over) (?:it )?tonight\b.{{0,30}}\b{_WEAPON}\b
    \b{_WEAPON}\b.{{0,30}}\btonight\b
    \b(?:i've got|i have|got|there are|i keep) (?:enough|plenty of|so many) (?:\w+ )?{_PILLS}\b.{{0,25}}\b(?:hid\w*
    + |drawer|saved|stash\w*|ready|to (?:die|end|do it|kill))
    \buntil (?:i|it|they|the skin) bleeds?\b
    \bblood (?:calms|makes me feel)
    \b(?<!not )(?<!don't )(?<!never )deserve (?:to be (?:hurt|punished|hit|beaten|in pain)|to suffer|the pain|pain
    + |the abuse)\b
    \b(?:only |just )?(?:allow(?:ed|ing)?|limit(?:ed|ing)?|restrict(?:ed|ing)?) (?:myself )?(?:to )?(?:[1-9]\d
    + |[1-7]\d\d) ?(?:k?cal)
    \b(?:haven't|have not|havent) (?:ate|eaten) (?:\w+ ){{0,3}}(?:since (?:\w+day|yesterday|last)|for \w+ days)
    \b(?:throw\w* up|vomit\w*|puk\w+|skip\w* (?:meals|eating|food)|not eat\w*|laxatives?)\b.{{0,30}}\b(?:stay|be|get
    + |keep|look) (?:\w+ )?(?:thin|skinny|small|tiny)\b
    \bvoices?\b.{{0,30}}\b(?:tell|say|told|want|scream)\b.{{0,15}}\bto\b.{{0,15}}\b(?:hurt|kill|harm|die|jump|stab
    + |drown)
    \b(?:swallow|take|taking|down)(?:ing)? (?:everything|all (?:of )?(?:it|them|the (?:pills|meds|medicine))
    + |whatever is) in (?:the|my) (?:medicine|cabinet|bathroom)
    \b(?:look\w*|googl\w*|search\w*|research\w*|read\w*|calculat\w*) (?:up |for |into |about |on )?how (?:many|much
    + |long)\b.{{0,30}}\b(?:{_PILLS}|die|drown|bleed|hang|fatal|lethal)\b(?! (?:tree|hair
    + |picture))(?!.{{0,20}}\b(?:safe|should|per day|a day|dose for))
    \b(?:stand|sitt?|on|hang)(?:ing)? (?:out )?(?:on |at |by |over )?(?:the )?(?:roof|edge|ledge|bridge|tracks
    + |railing)(?: of \w+)?(?: right)? now\b
    \b(?:relapsed|slipped)\b.{{0,15}}\b(?:cut|burn|hurt|scratch)(?:ed|ting)?\b
    \b(?:cut|burned|burnt|hurt) myself (?:again|last night|today|tonight|on purpose|to (?:feel|cope))
    \b(?:punch|hit|bang|smash|slam)(?:ing|s)? (?:walls?|myself|my (?:own )?(?:head|face|fists?
    + |hands?))\b.{{0,30}}\b(?:bleed|bruise|calm|pass out|punish|until|to (?:feel|cope|stop))\b(?!.{{0,15}}customers)
    \b(?:skip\w*|miss\w*|refus\w*) (?:all |my |every )?(?:meals?|food|eating)\b.{{0,30}}\b(?:punish|for (?:weeks|days)
    + |thin|skinny|hate|disgust)
    \b(?:take|taking|took|use|using|need) (?:\w+ )?laxatives? (?:after|every|to|before|when)\b(?!.{{0,20}}(?:ibs
    + |constipat|surgery|doctor))
    \bweigh (?:only |just )?(?:[23]\d|4[0-3]) ?(?:kg|kilos?)\b.{{0,30}}\b(?:lose|less|fat|too much|still)
    \b{_WHO} (?:\w+ ){{0,2}}(?:forces?|forced|makes?|made|pressures?|coerces?) me (?:to have|to do|into|in|do) (?:sex
    + |sexual|anal|porn|things in bed)
    \b{_WHO} {_HIT} (?:me|us) (?:so (?:hard|badly|often|bad)|until|with (?:a|his|her)|in (?:the|my) (?:face|head
    + |stomach|back)|black and blue)
    \b{_WHO} (?:\w+ )?(?:hits|beats|chokes|abuses|hurts|punches|kicks|rapes|threatens) (?:my|our) (?:\w+ )?(?:mom|mum
    + |mother|sister|brother|siblings|kids|dad)\b{_NOT_MEANT}
    \b{_WHO} (?:keeps|won't stop|doesn't stop) (?:touching|hitting|groping|hurting|following|threatening|choking
    + |beating) (?:me|us)\b{_NOT_MEANT}
    \bbeing (?:stalked|followed|watched|threatened|hunted) by (?:my|a|an) (?:\w+ )?(?:ex|man|guy|stranger|{_NEAR})\b
    \b{_PARTNER}(?: .{{0,40}})? (?:won't|doesn't|never|wouldn't) (?:let|allow)s? me (?:to )?(?:leave(?! (?:early
    + |on time|work))|go out|work(?! (?:\w+ )?(?:from|on|in|at|late|with|hard)\b)|have (?:friends(?! (?:over|round))
    + |money)|talk to (?:anyone|my (?:family|friends)))\b
    \b(?:thoughts?|urges?|impulses?|afraid|scared) (?:of|to|about) (?:harm|hurt|kill|shak|smother|drown)(?:e
    + |ing)? (?:my|the|our) (?:\w+ )?(?:baby|kids?|child(?:ren)?|son|daughter)\b
    \b(?:i'm|i am) (?:[89]|1[0-5])\b.{{0,40}}\b(?:man|guy|adult|teacher|coach|he|someone)\b.{{0,40}}\b(?:(?:send|sends
    + |sent|asks? for|asked for|wants?) (?:\w+ ){{0,3}}(?:pictures?|photos?|pics)|nudes?|naked|meet|sex|touch\w*
    + |kiss\w*)\b
    \bthreaten(?:s|ed|ing) (?:me|us) with (?:a |his |her |the )?(?:gun|knife|weapon|hammer|bat|acid)\b
    \b(?:binge|eat)\w*\b.{{0,20}}\b(?:then|and) (?:throw|threw|vomit|puke|purge)\w*(?: up| it)?\b
    \b(?:cut|slice|carve) the fat off\b
    \b(?:exercise|run|work out|train) until i (?:faint|pass out|collapse|bleed)\b
    \b(?:stopped|skipping|not) tak(?:e|ing) my (?:insulin|meds|medication|heart pills) (?:on purpose|to die|so i)
    \b{_WEAPON} (?:to|at|against|on) my (?:wrists?|throat|neck|head|skin|chest)\b
    \b(?:burnt|burned|cut|scratched|sliced) my (?:arms?|wrists?|legs?|thighs?|skin|hand)s? (?:with|again|on purpose)\b
    \b(?:pills|tablets) and (?:vodka|alcohol|whiskey|wine)\b
    \b{_WHO} (?:\w+ )?(?:makes?|made|forces?|forced) me (?:to )?touch\b
    \bgrand(?:pa|dad|father) (?:makes?|made) me touch\b
    \b{_PARTNER} won't let me (?:out|go|leave)\b
    \b(?:said|says|swears?|swore|threaten\w*|promised|tells me)\b.{{0,25}}\b(?:kill|hurt|shoot|stab|beat) {_US}\b
    \b(?:kill|hurt|shoot|beat) {_US} if i (?:ever )?(?:leave|tell|go|call|report|scream|talk|run|say)
    \b(?:i'm|i am|still|keep|get) (?:being|getting) (?:\w+ )?(?:abused|beaten|raped|molested|trafficked)\b(?! (?:at
    + |in) \w+ball)
    \b(?:scared|afraid|terrified) (?:that )?(?:{_WHO}|they)(?: will|'ll| is going to| might| could| may)? (?:kill|hurt
    + |hit|beat|find) (?:me|us)\b
    \b(?:am not|i'm not|not|don't feel|never feel|isn't) safe (?:at home|in my (?:own )?(?:home|house)|with (?:him|her
    + |my {_NEAR}))
    \b(?:won't|doesn't|does not|refuses to) let me (?:leave the house|see (?:anyone|my friends|my family)
    + |have (?:a phone|my (?:phone|money|passport)))
""")
"""Each line a danger that is there now; found in one of a text's `spellings.readings`."""
