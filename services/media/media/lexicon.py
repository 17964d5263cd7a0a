"""Which English words do what in a goal. Lists, and no more grammar than goals need."""

from __future__ import annotations

import re

from media.affirmation_rules import word_set

BREAKS = word_set("and but or then")
SUBORDINATES = word_set(
    "so because while when that who which if what how where why whether whatever until since though although unless as"
)
"""What follows these, once a goal has begun, explains it."""
LEADS = word_set(
    """i i'm im i'd id i've ive we want wants wanted need needs wish would like hope hoping try trying aim plan
    planning to please how can could should able really just also help me us goal goals is can't cannot cant am are
    was why when what unable"""
)
FINITE = word_set("is are was were am isn't aren't wasn't means makes feels keeps gets seems")
"""A name that one of these follows says something of it: what is named is the goal."""
MARKERS = word_set("stop stopping quit quitting avoid avoiding not no never don't dont without")
DROPPED = word_set("will going gonna won't wont rid free longer anymore i'll")
TRAILING = word_set(
    """to of at in on the a an my your with for from by about into more so very be and or as than too this that is are
    am under being feel feeling become becoming i really even"""
)
INTENSIFIERS = word_set("more so very truly deeply fully much less too")
PREPOSITIONS = word_set("at in on with about around during under for before after by of to from through into against")
DETERMINERS = word_set("my our the a an myself every all this")
VERB_CONTINUES = (
    PREPOSITIONS
    | DETERMINERS
    | word_set(
        """better well deeply more less harder faster again soundly longer earlier daily peacefully clearly down up out
        over off away asleep awake apart one two three four five six seven eight nine ten freely like"""
    )
)
QUALITIES = word_set(
    """calm calmer confident happy happier healthy healthier strong stronger focused productive patient present
    creative brave braver successful relaxed energetic energized disciplined kind kinder organized organised
    peaceful grateful thankful resilient assertive motivated mindful grounded centered rested fit fitter independent
    optimistic positive courageous secure safe steady clear honest open loving content joyful fearless bold
    awake alert outgoing social decisive consistent balanced aligned worthy proud ready hopeful tidy wealthy rich
    smart smarter beautiful attractive loved lovable good generous"""
)
HEAVY = word_set(
    """anxious angry afraid scared nervous overwhelmed stressed worried tired exhausted lazy shy jealous insecure sad
    lonely depressed negative ashamed guilty stuck lost bored distracted crazy insane rude frustrated bitter
    impatient hopeless"""
)
STATES = word_set("pregnant sober famous fluent punctual married retired single employed debt-free")
"""What somebody is or is not, whatever they feel."""
VERBS = word_set(
    """accept ace achieve act afford answer appreciate approach ask attract balance be beat become believe bring build
    buy calm care change choose climb commit communicate complete bond wear sink bake sew knit hike cycle row
    adopt hug declutter clean
    wash confront negotiate delegate mentor coach memorize revise qualify volunteer socialize flirt reconnect belong
    settle adapt adjust thrive flourish breathe unwind recharge savor tolerate endure honor cherish treasure admire
    donate budget conceive connect control cook cope create cut
    dance date deal deepen deliver develop do draw dream drink drive earn eat enjoy exercise express face fall
    feel fight find finish fly focus follow forgive gain get give go graduate grieve grow handle have heal hit
    hold improve increase inspire invest keep know launch lead learn leave let lift listen live lose love
    lower maintain make manage marry master meditate meet move open organize organise overcome own paint pass
    pay perform play practice practise pray prepare present pursue put raise reach read rebuild receive recover
    reduce relax release remember renovate respect retire return run save say see sell serve set share shine
    show sing sit sleep slow smile smoke solve speak spend stand start stay strengthen stretch study succeed
    support survive swim take talk teach tell thank think train travel trust try turn understand unlearn use
    visit wake walk win work write yell shout overthink overeat procrastinate worry snack gamble panic compare
    criticize criticise complain apologize apologise hide doubt hate ignore print manifest align embrace engage
    embody celebrate stick scroll cry nap cure treat come clean
    reduce record attend apply join date skip repair fix"""
)
ALSO_NOUNS = word_set(
    """act balance calm care change control cut dance date deal dream drink drive exercise face fall fight focus hike
    coach bond
    gain hit lift love move panic pay practice present release rest respect return run share sleep smile
    smoke stand start stretch study support talk train travel trust turn walk work worry doubt show open
    lead slow support nap cry"""
)
NOUNS_ALONE = word_set(
    """balance calm care change control dance dream exercise focus love practice release respect rest sleep smile study
    support travel trust work play worry doubt panic pain walk talk"""
)
HARMFUL = word_set(
    """hate yell shout overthink overeat procrastinate gamble panic complain criticize criticise doubt worry hurt lie
    cheat binge punish starve regret"""
)
"""What nobody wants to be told they do well."""
BURDENS = word_set(
    """anxiety stress fear fears worry worries doubt doubts self-doubt procrastination pain anger depression insomnia
    overthinking panic debt debts perfectionism loneliness burnout addiction shame guilt jealousy smoking drinking
    sadness overwhelm imposter distraction distractions tension rage cravings phobia nightmares gambling
    overeating snoring vaping overload meltdown meltdowns shutdowns nausea adhd ocd ptsd grief heartbreak divorce
    breakup trauma cancer attacks illness migraines
    headaches headache migraine"""
)
ILLS = word_set(
    """cancer chemo chemotherapy tumor tumour illness disease diabetes pain fibromyalgia surgery operation depression
    ptsd trauma arthritis migraines migraine headaches asthma stroke sclerosis lupus epilepsy dementia grief loss death
    divorce breakup heartbreak miscarriage miscarriages abuse infertility menopause
    endometriosis flashes disorder bulimia anorexia covid tinnitus tics stutter stammer vertigo eczema psoriasis ibs
    parkinson's"""
)
"""What is lived with or lived through: no sentence promises it away, and none calls it a habit."""
HOPED = word_set("conceive survive heal recover win")
"""What nobody does by deciding to."""
MAKING = word_set(
    "write finish play build study read paint create complete launch record produce prepare practice practise learn"
)
"""What these are done to can be spoken of by itself."""
ASKS_FOR_MORE = word_set("need fear relationship desire addiction craving belief faith say")
"""What follows these belongs to them."""
NEEDS_OBJECT = word_set(
    """say have get find make take give put let keep leave know tell see hear hold handle lower raise put set bring buy
    use ask accept build reach receive drink hit lose fall go do"""
)
ORDER = word_set("first last next")
WHEN = word_set("this next by before today tonight tomorrow every each")
OF_OTHERS = word_set("care caring support help look nurse")
NO_LOSS = word_set("weight fat hair")
NO_ACTIVITIES = word_set("morning evening king ring string wing thing nothing something anything everything spring")
PROPER = {
    word.lower(): word
    for word in word_set(
        """I God Jesus Christ Allah Buddha English Spanish French German Italian Japanese Chinese Korean Portuguese
        Arabic Hindi Russian Google Instagram Facebook Amazon TikTok YouTube iPhone Harvard Stanford Monday Christmas
        ADHD OCD PTSD CEO CFO CTO SAT GRE LSAT MCAT MBA PhD IELTS TOEFL USA"""
    )
}
"""Names that keep their capitals however a goal is typed."""


def gerund(verb: str) -> str:
    if verb.endswith("e") and not verb.endswith(("ee", "ye", "be")):
        return f"{verb[:-1]}ing"
    doubled = re.fullmatch(r"(?:for|be|com)?[^aeiou]*[aeiou][^aeiouwxy]", verb)
    return f"{verb}{verb[-1]}ing" if doubled else f"{verb}ing"


VERB_OF = {gerund(verb): verb for verb in sorted(VERBS)}
"""By its gerund."""
