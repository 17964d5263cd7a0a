"""The sentences affirmations are made of. `{t}` is a goal's phrase, `{s}` a struggle, `{v}` a value; a capital letter
in the braces starts the sentence with it.

First person, present tense, concrete, believable on a bad day. Every sentence stands on its own beside any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from media.topics import Kind


class Framework(Enum):
    """What carries a session: a bridge out of fear, values, or strength."""

    BRIDGE = "A"
    VALUES = "B"
    POWER = "C"


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().splitlines())


_NOUN = {
    Framework.BRIDGE: _lines("""
        I am learning to make space for {t}.
        I am willing to give {t} my patience.
        I am becoming open to {t} in my life.
        I keep choosing {t}, one breath at a time.
        Learning about {t} opens a door for me.
        Each small choice brings me closer to {t}.
        My heart is willing to make room for {t}.
        I come to {t} in my own rhythm.
    """),
    Framework.VALUES: _lines("""
        I honor {t} with my time and care.
        I value {t}, and my choices say so.
        I respect the quiet effort behind {t}.
        I trust my own way toward {t}.
        Valuing {t} gives my day a clear direction.
        Trust grows in me as I tend to {t}.
        My respect for {t} shows in what I do.
        I honor each small step I take toward {t}.
    """),
    Framework.POWER: _lines("""
        I make one choice for {t} this hour.
        I do one clear thing for {t} now.
        I give some of my best energy to {t}.
        Creating space for {t} gives me strength.
        I build good days around {t}.
        Taking good care of {t} makes me stronger.
        I create time for {t} and use it well.
        My care for {t} gets clearer with practice.
    """),
    None: _lines("""
        There is a real place for {t} in my life.
        I give {t} my calm and full attention.
        I make room for {t} every single day.
        My breath steadies me as I turn to {t}.
        I return to {t} with fresh patience.
        I am a little closer to {t} today.
        Today I choose {t} in small, real ways.
        With loose shoulders, I turn to {t}.
        The care I bring is good for {t}.
        I think of {t} with warmth.
        I welcome {t} into this quiet moment.
        Even one quiet minute honors {t}.
        I carry {t} with me wherever I go.
        I deserve {t}, on good days and slow ones.
        I notice each small sign of {t}.
        I have what I need for {t}.
    """),
}

_VERB = {
    Framework.BRIDGE: _lines("""
        I am learning to {t} with patience.
        I am willing to {t}, one step at a time.
        I choose to {t} in my own way.
        I have the courage to {t} today.
        I feel ready to {t} at my own pace.
        Choosing to {t} feels kind and possible.
        I am more able to {t} than I think.
        I allow myself time to learn to {t}.
    """),
    Framework.VALUES: _lines("""
        I honor my wish to {t}.
        I calmly trust myself to {t}.
        I value every chance to {t}.
        I respect the effort it takes to {t}.
        My desire to {t} deserves my time.
        I trust the quiet strength I have to {t}.
        My values give me good reasons to {t}.
        I honor the part of me ready to {t}.
    """),
    Framework.POWER: _lines("""
        I take clear steps today to {t}.
        I am building the strength to {t}.
        I look for what helps me {t}.
        I create good conditions to {t} every day.
        One small action helps me {t} right now.
        I build daily habits that help me {t}.
        I have enough energy to {t} today.
        A clear hour helps me {t}.
    """),
    None: _lines("""
        It feels natural and good to {t}.
        I give myself full permission to {t}.
        Every breath gives me room to {t}.
        I have everything I need to {t}.
        Each day makes it easier to {t}.
        Something in me knows how to {t}.
        There is time in my day to {t}.
        Small, honest steps show me how to {t}.
        I am allowed to {t} in my own time.
        I find simple ways to {t} today.
        I am worth the time it takes to {t}.
        Patience, my old ally, helps me {t}.
        I practice gently, and I learn to {t}.
        I can {t}, and I remember it now.
        With practice, I find it simpler to {t}.
        I let kind people help me {t}.
    """),
}

_ACTIVITY = {
    Framework.BRIDGE: _lines("""
        I am learning the rhythm of {t}.
        I am willing to give {t} an honest try.
        I am becoming more at home with {t}.
        I choose {t} in my own way today.
        I feel capable of {t} at my own pace.
        Learning to like {t} feels kind and possible.
        I allow {t} to become easier with practice.
    """),
    Framework.VALUES: _lines("""
        I honor the time that {t} needs.
        I trust myself with {t}, today and every day.
        I value what {t} brings into my life.
        I respect the patience behind {t}.
        My values give me good reasons for {t}.
        Trust in my own way of {t} grows daily.
        {T} is one way I honor myself.
    """),
    Framework.POWER: _lines("""
        I build {t} into the shape of my day.
        I take one clear step toward {t} now.
        I focus on {t} when the moment comes.
        Creating time for {t} gives me strength.
        I am building a steady habit of {t}.
        Taking time for {t} makes me stronger.
        My energy and my focus go to {t}.
    """),
    None: _lines("""
        {T} feels more natural to me each week.
        {T} has a real place in my life.
        I give {t} my calm, full attention.
        I have everything I need for {t}.
        My breath keeps me steady through {t}.
        Each day makes {t} a little easier.
        My mind and body learn {t} together.
        {T} is safe and possible for me.
        I come back to {t} with fresh patience.
        Small, honest steps bring me to {t}.
        I give myself full permission for {t}.
        Patience is my best ally in {t}.
        I welcome {t} as part of who I am.
        Kind people support me in {t}.
        I practice gently, and {t} grows familiar.
        Right now I picture {t} and breathe slowly.
    """),
}

_QUALITY = {
    Framework.BRIDGE: _lines("""
        I am learning to feel {t}.
        I am becoming {t}, one day at a time.
        I am willing to feel {t} right now.
        I choose to feel {t} in this moment.
        I am capable of feeling {t} every day.
        Choosing to stay {t} is within my reach.
        My practice of feeling {t} grows each week.
    """),
    Framework.VALUES: _lines("""
        I trust the part of me that is {t}.
        I value how it feels to be {t}.
        I honor every moment when I feel {t}.
        I respect the slow work of becoming {t}.
        I trust my breath to keep me {t}.
        My values help me stay {t} under pressure.
        I honor my need to feel {t}.
    """),
    Framework.POWER: _lines("""
        I build habits that keep me {t}.
        I take actions that make me feel {t}.
        I focus on being {t} in each task.
        I create moments where I feel {t}.
        Taking a slow breath makes me {t}.
        I am building days that leave me {t}.
        My energy rises when I feel {t}.
    """),
    None: _lines("""
        My breath helps me feel {t}.
        I let myself be {t} as I am.
        My body remembers how to be {t}.
        It feels good and right to be {t}.
        I carry myself in ways that feel {t}.
        I allow this hour to feel {t}.
        Every small step makes me feel {t}.
        I have all I need to feel {t}.
        My thoughts settle, and I feel {t}.
        I give myself permission to be {t}.
        Others feel at ease when I am {t}.
        Being {t} comes naturally with practice.
        My day has room for me to be {t}.
        I come back to being {t} whenever I choose.
        I wake up, stretch, and feel {t}.
        Somewhere in me, someone {t} already lives.
    """),
}

_AWAY = {
    Framework.BRIDGE: _lines("""
        I am learning to answer {t} with kindness.
        I am willing to loosen my grip on {t}.
        I am capable of choosing calm over {t}.
        I choose my own breath over {t}.
        I am becoming stronger than {t} each day.
        Learning from {t} gives me new choices.
        My courage is growing larger than {t}.
    """),
    Framework.VALUES: _lines("""
        I honor myself when I move past {t}.
        I trust my strength when {t} calls.
        I value my own days more than {t}.
        I respect how far I have come from {t}.
        I value the peace that lies beyond {t}.
        What I value outlasts {t}.
        I honor myself and outgrow {t}.
    """),
    Framework.POWER: _lines("""
        I build new habits that replace {t}.
        I take back my energy from {t}.
        I turn to what matters more than {t}.
        I create new choices where {t} once ruled.
        Taking one slow breath loosens {t}.
        I am building days that are bigger than {t}.
        My strength rises each time I leave {t} behind.
    """),
    None: _lines("""
        I let {t} pass like a wave.
        My breath is here before {t} and after it.
        I leave {t} behind me with every hour.
        There is more to me than {t}.
        I meet {t} with calm and choose again.
        Around {t}, I breathe and stay steady.
        I release {t} with each slow breath out.
        My calm outlasts {t} every single time.
        I let go of {t} and rest.
        I have the power to outgrow {t}.
        Today I choose kindness to myself over {t}.
        In me, peace takes the place of {t}.
        I thank myself for each pause before {t}.
        I walk past {t} with my head high.
        I set {t} aside and come home to myself.
        A breath of fresh air helps me past {t}.
    """),
}

_TENDER = {
    Framework.BRIDGE: _lines("""
        I am learning to be gentle with myself through {t}.
        I am willing to accept help with {t}.
        I am more than {t}, and I am loved.
        I choose one soft thing beside {t} today.
        Learning to rest is part of living with {t}.
        I let myself be comforted through {t}.
    """),
    Framework.VALUES: _lines("""
        I honor how hard {t} can be.
        I respect what I carry with {t}.
        My worth stays whole through {t}.
        I trust the people who stand beside me with {t}.
        I value every soft hour beside {t}.
        I honor my need for rest through {t}.
    """),
    Framework.POWER: _lines("""
        I take one gentle step with {t} today.
        My courage with {t} is quiet and real.
        I face {t} one small hour at a time.
        I ask for the help I need with {t}.
        I create small comforts around {t}.
        Taking time to rest helps me through {t}.
    """),
    None: _lines("""
        I meet {t} gently, one day at a time.
        My breath stays with me through {t}.
        Beside {t}, I keep room for small joys.
        On hard days with {t}, I rest.
        I live my own life alongside {t}.
        I speak openly about {t} with people I trust.
        I treat myself tenderly through {t}.
        I give myself patience through {t}.
        Kind hands help me carry {t}.
        Some hours with {t} are softer, and I notice.
        I let tears come and go through {t}.
        Even beside {t}, this breath is mine.
    """),
}

_HOPE = {
    Framework.BRIDGE: _lines("""
        I am allowed to want to {t}.
        I am gentle with my hope to {t}.
        I am willing to rest while I hope to {t}.
        I choose to be patient with my wish to {t}.
        Learning to wait kindly is part of hoping to {t}.
        I let my wish to {t} be as big as it is.
    """),
    Framework.VALUES: _lines("""
        I honor my hope to {t}.
        I respect what it means to me to {t}.
        My hope to {t} shows what I value.
        I trust myself to hold my hope to {t} gently.
        I value every kind word for my wish to {t}.
        My worth is whole while I hope to {t}.
    """),
    Framework.POWER: _lines("""
        I take one gentle step, and I hope to {t}.
        I build good days while I hope to {t}.
        I give my strength a rest while I hope to {t}.
        Taking care of myself belongs to my hope to {t}.
        I create calm around my wish to {t}.
        I do my own part and hope to {t}.
    """),
    None: _lines("""
        My hope to {t} has room to breathe.
        Kind people stand beside my hope to {t}.
        I hold my hope to {t} with open hands.
        I speak softly to myself as I hope to {t}.
        My breath is calm beside my wish to {t}.
        I share my wish to {t} with someone I trust.
        I tend to this day while I hope to {t}.
        There is time for my wish to {t}.
        It is human and good to hope to {t}.
        I rest well with my hope to {t}.
        I let small joys in while I hope to {t}.
        My wish to {t} makes me tender, and strong.
    """),
}

GOAL_LINES: Mapping[Kind, Mapping[Framework | None, tuple[str, ...]]] = {
    Kind.NOUN: _NOUN,
    Kind.VERB: _VERB,
    Kind.ACTIVITY: _ACTIVITY,
    Kind.QUALITY: _QUALITY,
    Kind.AWAY: _AWAY,
    Kind.TENDER: _TENDER,
    Kind.HOPE: _HOPE,
}
"""Sentences for each kind of phrase: those of a framework, and under None those that suit every one."""

STRUGGLE_LINES = _lines("""
    I meet {s} with a slow, kind breath.
    When {s} visits, I stay on my own side.
    I have come through {s} before, and I stand here.
    I stay warm and steady beside {s}.
    I can feel {s} and still choose my next step.
    I speak kindly to myself when {s} is loud.
    {S} softens when I breathe all the way out.
    I am larger than {s}, and I have time.
    I make room for {s} and keep walking gently.
    {S} may sit down, and I keep breathing.
    I breathe in, I notice {s}, I breathe out.
    My kindness to myself outlasts {s}.
    Even with {s}, I do one small thing well.
    I put a hand on my heart when {s} comes.
    {S} has told me enough, and I rest now.
    I share {s} with someone who listens well.
""")

VALUE_LINES = _lines("""
    My sense of {v} guides what I choose today.
    I honor {v} in small, daily ways.
    I trust {v} to show me the way.
    I let {v} shape one choice this hour.
    {V} is alive in my small, ordinary choices.
    I live close to {v}, hour by hour.
    I value {v}, and my actions show it.
    Choosing {v} makes me feel at home.
    I make time for {v} this week.
    {V} steadies me when the day is loud.
    I come back to {v} as to a friend.
    My best hours have {v} in them.
""")

OPEN_LINES: Mapping[Framework | None, tuple[str, ...]] = {
    Framework.BRIDGE: _lines("""
        I am learning to trust the quiet in me.
        I am willing to take one gentle step.
        I choose a softer voice for my thoughts.
        I am becoming a calm place for myself.
        My breath builds a bridge to solid ground.
        I feel capable of this one small moment.
        Choosing rest is a brave thing to do.
        I let my shoulders drop and my jaw soften.
    """),
    Framework.VALUES: _lines("""
        I honor what matters most to me today.
        I trust the pace that my life has.
        I respect my limits and my strengths alike.
        I value honest words and quiet courage.
        My choices show what I hold dear.
        I treat myself with the respect I give friends.
        Trust in my own judgment grows daily.
        I honor the long road behind my feet.
    """),
    Framework.POWER: _lines("""
        I take the first step with a clear head.
        I build my day around what counts.
        I focus on one task and finish it.
        Creating something small gives me energy.
        I am building strength with every repetition.
        My attention goes exactly where I send it.
        I take charge of this hour with ease.
        I begin quickly and continue with patience.
    """),
    None: _lines("""
        My breath is slow, deep and easy.
        I listen to my body and answer kindly.
        I have enough time for what is important.
        Each exhale leaves more room inside me.
        I feel the ground hold me safely.
        Good things find me in ordinary hours.
        I forgive myself and begin again gently.
        My heart beats steadily and carries me.
        I enjoy the simple comfort of this place.
        I give thanks for one small thing today.
        Warmth spreads through my chest and arms.
        I keep promises that I make to myself.
        A small smile comes easily to me.
        I ask for help and receive it well.
        My mind is clear like morning water.
        I rest deeply and wake refreshed.
        Every morning offers me a clean page.
        I see beauty in plain, familiar things.
    """),
}
"""Sentences for a session whose goal names nothing that could be woven in."""
