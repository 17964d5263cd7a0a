"""What each theme is found by, and its lines; those after `--` suit everybody whose goal is about the theme."""

from __future__ import annotations

TENDER = (
    (
        r"cancer|chemo|tumou?r|illness|sick|disease|diabet|chronic|pain\b|fibromyalgia|surgery|operation|heal\b"
        r"|healing|recover|depress|ptsd|bipolar|trauma|hospital|diagnos|arthritis|migraine|asthma|stroke|sclerosis",
        """
        I am more than cancer, and I am loved.
        I meet cancer one day, one breath at a time.
        My doctors and I face cancer together.
        Pain is here, and so is my breath.
        I make my body comfortable around the pain.
        I breathe around the pain and soften what I can.
        My illness is one part of me, and I am whole.
        I care for my diabetes in steady, small acts.
        Depression is heavy, and I carry it with help.
        I let others know when my depression is loud.
        Around my surgery, I rest as long as I like.
        I give my body rest and time to heal.
        Recovery has slow days and bright days, and I honor both.
        I treat my trauma gently, with people I trust.
        --
        I rest, and resting is enough for today.
        I do one kind thing for my body now.
        I let good people carry some of the weight.
        Today I look for one thing that is gentle.
        I ask my questions openly and listen to the answers.
        My body works hard, and I thank it softly.
        Small comforts count, and I allow myself many.
        This hour is mine, whatever the day brings.
        """,
    ),
    (
        r"grie[fv]|dying|died|death|passed away|miscarriage|widow|mourn|(?<!weight )(?<!fat )(?<!hair )loss\b"
        r"|lost my|lost our|divorc|break-?up|heartbr|my ex\b"
        r"|get over|move on|moving on|\bmiss(?:ing)? (?:my|him|her|them)\b"
        r"|without my (?:\w+ )?(?:husband|wife|mom|mum|mother|dad|father|son|daughter|baby|brother|sister|grand\w+"
        r"|dog|cat)\b",
        """
        Grief comes in waves, and I float.
        My grief is love that keeps its place.
        I let grief sit beside me and breathe with it.
        I carry my loss with gentle hands.
        My dog gave me love, and I keep it.
        My divorce is one chapter, and I write on.
        Through the divorce, I keep my own kind voice.
        My ex has a road, and I have mine.
        I wish my ex well from a distance.
        I move on in steps as small as I like.
        --
        I cry when tears come, and I rest after.
        Some days are heavy, and I walk slowly.
        My heart is tender, and it beats on.
        I let kind people sit beside me.
        There is room in me for sorrow and for tea.
        A good memory visits, and I let it stay.
        I eat, I sleep, I walk, and that is plenty.
        """,
    ),
    (
        r"pregnan|conceive|ivf\b|fertil|have a baby|having a baby",
        """
        I am gentle with myself while I hope to get pregnant.
        My wish to be pregnant is allowed to be big.
        --
        I treat my body as a friend, month by month.
        I share my hope with people who hold it gently.
        My life is already full of things to love.
        I rest between the waiting and the trying.
        I let this month be simply this month.
        My worth is whole on every single day.
        """,
    ),
)
"""Illness, loss, and what can only be hoped for: nothing is promised here."""

PLAIN = (
    (
        r"sleep|insomnia|bedtime|nap\b|rest\b|nightmare",
        """
        Sleep comes to me in its own time.
        My bed is a safe place to sleep.
        I let sleep arrive like a slow tide.
        My pillow holds my head, and sleep holds me.
        I sleep deeply while the night takes care of itself.
        My body remembers how to sleep.
        I put the day down and drift toward sleep.
        Each breath out brings me closer to sleep.
        I give my tired mind the gift of sleep.
        Sleep restores me, hour by quiet hour.
        I dim the lights early and invite sleep in.
        My thoughts grow soft and make way for sleep.
        I stir in the night, and sleep finds me again.
        I deserve a long night of good sleep.
        I lie down, and rest begins at once.
        --
        The day is done, and I did enough.
        My jaw loosens and my shoulders sink.
        The night is quiet, and I am safe in it.
        My eyelids are heavy and my breath is slow.
        The room is cool and dark and mine.
        """,
    ),
    (
        r"when i present|to present|present (?:my|our|the|a)\b|presenting|presentation|speech|speak(?:ing)?\b"
        r"|audience|stage|interview|meetings?\b"
        r"|pitch|toast\b",
        """
        I speak slowly, and people lean in.
        I speak up once, and the room adjusts.
        I speak to one kind face at a time.
        My voice has weight in meetings.
        Meetings go better when I add my view.
        I take a breath before speaking, and it steadies me.
        Speaking feels like a talk among friends.
        Public speaking is a skill, and I practice it.
        When I present, I talk to one kind face.
        I present what I know and breathe between sentences.
        My presentation is full of useful things.
        I begin my presentation with a slow breath.
        The audience is made of people who wish me well.
        An interview is a talk between two people.
        I answer interview questions in my own plain words.
        On stage, I feel the floor and begin.
        My speech has room for pauses, and I use them.
        --
        My heart beats fast because I care.
        I pause, and the silence works for me.
        My hands are warm and my throat is loose.
        I look up, find a face and start.
        My first sentence is simple, and I know it.
        """,
    ),
    (
        r"confiden|self-esteem|self esteem|believe in myself|imposter|assertive|courage|brave|\bshy|worthy|self-doubt"
        r"|doubt|insecur",
        """
        My confidence grows each time I speak up.
        I wear my confidence lightly, like a good coat.
        Confidence feels like standing on both feet.
        I keep small promises, and confidence follows.
        I am confident enough to take up space.
        I feel confident when I slow down.
        I walk in confident and curious.
        I am confident in what I have practiced.
        I sound more confident than I think I do.
        My courage is small today, and it counts.
        I am brave in one ordinary way today.
        Self-doubt speaks, and I answer it with facts.
        Doubt rides along, and I hold the wheel.
        I feel like an imposter and do good work anyway.
        My self-esteem rests on how I treat myself.
        I am worthy on my slow days too.
        --
        I belong in the rooms I walk into.
        My voice deserves its place here.
        I give my opinion once, plainly, and let it stand.
        I know things that are worth sharing.
        Mistakes teach me and leave my worth untouched.
        I take a compliment and simply say thank you.
        """,
    ),
    (
        r"calm|anxi|panic|stress|worr|relax|overwhelm|nervous|peace|overthink|tension|seren",
        """
        Calm begins with one long breath out.
        I am calm enough for this next minute.
        My calm is quiet, and it is mine.
        I feel calm spread outward from my chest.
        I choose calm before I choose words.
        Calm is a skill, and I practice it gently.
        My calm comes back each time I notice my feet.
        Anxiety rises, peaks and passes, and I stay here.
        I breathe slowly, and anxiety has less to say.
        I can feel anxious and still act kindly.
        Stress leaves my shoulders as I breathe out.
        I answer worry with one small, kind fact.
        Panic passes through me like weather.
        Peace is one slow breath away from me.
        I relax my hands, my jaw, my forehead.
        Overthinking slows when I write one thought down.
        --
        My feet feel the floor, and I am held.
        I look around and name what is steady.
        My thoughts are visitors, and the door is open.
        This moment asks only one breath of me.
        I set my own pace for the next hour.
        """,
    ),
    (
        r"exam|test\b|tests\b|study|thesis|phd|degree|school|universit|college|learn|japanese|spanish|french|german\b"
        r"|english|language|math",
        """
        I study in short, clear stretches.
        Studying gets lighter once I sit down.
        I read each test question twice and breathe.
        I walk into the test rested and ready.
        In the exam, I begin with what I know.
        My exam is one morning of a long life.
        My thesis grows one paragraph at a time.
        I open my thesis and improve one sentence.
        My PhD is a long walk, and I rest often.
        I learn a little every day, and it stays.
        Each mistake shows me what to learn next.
        A new language comes to me word by word.
        I say one sentence in Japanese and smile.
        I say one sentence in Spanish and smile.
        --
        My memory works best when I am kind to it.
        I ask questions, and things become clear.
        I know more than I think I do.
        """,
    ),
    (
        r"focus|concentrat|productiv|procrastinat|deep work|(?<!at )work\b|adhd|distract|deadline|project|task"
        r"|disciplin",
        """
        I focus on one thing and let others wait.
        My focus returns as often as I call it.
        Focus is a door I close behind me.
        My focus wanders, and I lead it back kindly.
        I give my best focus to my hardest task.
        Ten minutes of focus are a fine beginning.
        I like the quiet of a focused hour.
        I begin with five minutes of work.
        Deep work has a fixed place in my day.
        My phone rests in another room while I work.
        I finish one small piece of work and smile.
        Good work begins before I feel ready.
        I am productive in honest, human amounts.
        Discipline is a promise I keep in small coins.
        My project moves when I move one piece.
        --
        I begin roughly, and beginning is what counts.
        My desk is clear and my next step is small.
        One task at a time is fast enough.
        I close what is done and breathe out.
        """,
    ),
    (
        r"smok|drinking|drink\b(?! (?:\w+ ){0,4}(?:water|tea)\b)|alcohol|sober|nails\b|nail-?biting|scroll|phone"
        r"|gambl|snack"
        r"|weed|vap(?:e|ing)|porn|caffeine|habit|addict"
        r"|cigar|crav",
        """
        Each smoking urge lasts minutes, and I last longer.
        I breathe clean air and leave smoking to yesterday.
        Smoking belongs to an older version of me.
        After dinner I walk, and smoking loses its hour.
        I stay sober one clear hour at a time.
        Sober mornings taste fresh and honest to me.
        I choose to be sober, and today I choose it again.
        Drinking loses its shine as my evenings grow.
        A glass of water stands where drinking used to be.
        My phone sleeps outside my bedroom.
        I put my phone down and look up.
        Scrolling ends when I choose a better evening.
        My nails grow while my fingers find rest.
        I let my nails be, and my fingers relax.
        A new habit grows where I water it.
        --
        A craving rises, crests and rolls away.
        My hands have better things to hold.
        I call a friend when the evening gets long.
        One clean choice makes the next one easier.
        I am proud of each day I keep.
        The urge is loud for a while, and I am patient.
        """,
    ),
    (
        r"weight|pounds|kilos?\b|lbs\b|kg\b|fit\b|fitter|fitness|gym|exercis|run\b|running|marathon|workout|muscle|diet"
        r"|eat\b|eating|sugar|health|in shape",
        """
        I move because my body feels good after.
        I eat slowly and notice when I have had enough.
        I eat food that my body thanks me for.
        My plate has less sugar and more color.
        Running clears my head, one street at a time.
        I run at the pace of my own breath.
        A marathon is made of single steps.
        My marathon begins with today's easy run.
        I lose weight through the choices I repeat.
        My weight is a number, and I am a person.
        I count good meals and walks before I count pounds.
        My health likes small things done often.
        A healthy meal is an act of respect.
        I am healthy in small, repeated ways.
        Exercise leaves me clearer than before.
        The gym is a place where I belong.
        My body carries me everywhere, and I thank it.
        --
        I feel strong when I keep a small promise.
        Water, sleep and walking are my allies.
        I rest on rest days with a clear conscience.
        """,
    ),
    (
        r"money|business|promot|career|job\b|client|income|wealth|abundan|rich\b|salary|debt|startup|financ|boss"
        r"|a month",
        """
        My business grows from one good conversation.
        I treat my business with care and with patience.
        My own business starts with one useful thing.
        I treat money with care and a clear head.
        I look at my money calmly once a week.
        I make money by being useful and fair.
        Each month I know what comes in and goes out.
        My manager hears my wish to be promoted.
        I know what I bring to a job.
        A job is part of a life, and I am more.
        My career is a path with many good turns.
        I pay each debt down with steady hands.
        Abundance begins with noticing what I have.
        My clients trust me because I keep my word.
        --
        I name my price and let the silence work.
        I ask for what my work is worth.
        I save a little, and it adds up.
        Small, plain steps build what I want.
        """,
    ),
    (
        r"forgiv|let go of|resent",
        """
        I forgive slowly, and each part counts.
        I forgive for the sake of my own peace.
        My father is human, and so am I.
        My mother is human, and so am I.
        I forgive myself for what I learned late.
        --
        I put an old story down and stretch my hands.
        I keep my boundaries and soften my grip.
        My heart is lighter when I set things down.
        I can understand someone and still protect myself.
        """,
    ),
    (
        r"moms?\b|mommy|mum\b|mother|dad\b|father|parent|kids?\b|child|toddler|son\b|daughter",
        """
        A good mom repairs, hugs and begins again.
        I am a mom who listens, laughs and tries again.
        I am a better mom after one slow breath.
        A good dad is there in small moments.
        I am a dad who listens first.
        My kids need a warm parent, and I am one.
        My kids see me breathe before I speak.
        I kneel down and listen to my child.
        My toddler learns calm by watching mine.
        My children are loved on my tired days too.
        As a parent, I am allowed to rest.
        --
        I speak softly, and the house grows softer.
        One slow breath comes before my answer.
        Love shows in how I come back after storms.
        A hug says more than being right.
        """,
    ),
    (
        r"love\b(?! (?:my|this|our|the)\b)|relationship|partner|marriage|dating|date\b|friends?\b|lonel|connect"
        r"|family|husband|wife|girlfriend"
        r"|boyfriend",
        """
        I am worthy of love as I am today.
        Love finds room in my ordinary days.
        I let love be slow and honest.
        I show love in small, daily ways.
        I am easy to love when I am myself.
        My relationship grows in small, kind moments.
        I listen to my partner with my whole face.
        My marriage rests on daily kindness.
        Dating is a way to meet interesting people.
        My friends like me the way I am.
        I make friends by staying curious.
        I give my family my full attention at the table.
        --
        I ask for closeness in plain words.
        My heart stays open and my borders clear.
        I am good company for myself.
        Someone is glad when I call.
        """,
    ),
    (
        r"anger|angry|patien|temper|yell|rage\b|irritab|react",
        """
        Patience is a breath I take before words.
        I have more patience than I think.
        My patience comes back after one slow breath.
        I feel anger, and I choose what happens next.
        Anger warms me, and I let it cool.
        I am patient with slow things and small people.
        --
        I lower my voice, and the room softens.
        I walk away for a minute and come back kind.
        I hear the need behind the noise.
        """,
    ),
    (
        r"flying|fly\b|plane|heights|dentist|driving|driver|spiders|fear|afraid|scared|phobia",
        """
        Flying gets easier each time I breathe through it.
        I sit back, and flying becomes waiting with clouds.
        Driving is calm when I look far ahead.
        My hands rest lightly on the wheel while driving.
        I meet my fear at its true size.
        My fear speaks, and my breath answers.
        Each time I face my fear, I grow a little.
        Fear rides along, and I hold the wheel.
        --
        I do small, brave things on purpose.
        I let my body tremble and carry on.
        I count four slow breaths and look around.
        """,
    ),
    (
        r"wake|waking|morning|energ|get up|getting up|alarm|snooze|tired",
        """
        I wake up gently and put both feet down.
        I wake up to one thing I like.
        Morning light tells my body to wake up.
        My alarm rings, and I sit up.
        My mornings are mine before they are busy.
        The morning begins when I open the curtain.
        Energy comes as I stretch and drink water.
        I feel my energy rise with the light.
        My energy is worth protecting, and I protect it.
        --
        Cold water wakes my face and my mind.
        I move first, and the mood follows.
        An early night is my secret for a clear day.
        """,
    ),
    (
        r"creativ|writ(?:e|ing|er)|novel|book\b|paint|draw|music|guitar|piano|sing\b|singing|song|art\b|poem|blog",
        """
        My novel grows one rough page at a time.
        I write roughly first and well later.
        I write what only I have seen.
        My book waits for me like a friend.
        I play the guitar for the joy of sound.
        My fingers find the guitar easily again.
        I play the piano for the joy of sound.
        I paint what I see and enjoy surprises.
        Creativity visits when I show up and play.
        I am creative in the way I notice things.
        Music lives in my hands and my breath.
        I sing because it feels good to sing.
        --
        A blank page is a place to play.
        I make something small and rough today.
        I let ideas be strange before they are good.
        Ten playful minutes are a real beginning.
        """,
    ),
    (
        r"happy|happi|joy|gratitude|grateful|positiv|self-love|love myself|to myself|self-care|self care|my body"
        r"|stretch marks|scars?\b|swimsuit|bikini|hair loss|wrinkles|worth"
        r"|feel better|hope|kinder|motivat",
        """
        I am happy in small, ordinary minutes.
        Happy moments find me when I slow down.
        Happiness is small today, and it is here.
        Joy hides in plain things, and I look.
        I let joy come in, even for a minute.
        I am grateful for one plain thing tonight.
        Gratitude turns what I have into enough.
        I am kinder to myself with each breath.
        A kinder voice in me gets the last word.
        My body is my home, and I treat it kindly.
        I thank my body for one thing it does.
        I love myself on slow days too.
        I feel better after one honest breath.
        Hope is small and stubborn, and it is mine.
        I keep hope like a lamp by the window.
        --
        I let good moments last a little longer.
        I am enough on an ordinary day.
        I forgive myself for being human.
        Something good happens today, and I notice it.
        """,
    ),
    (
        r"meditat|mindful|present\b(?! (?:my|our|the|a|in front|to|at)\b)|stillness|spiritual|god\b|faith|pray",
        """
        I sit and breathe, and I meditate my own way.
        I meditate for one minute, and it counts.
        I am present for this one breath.
        Being present is as close as my hands.
        Mindful minutes add up to mindful days.
        My faith holds me on steep ground.
        God is near, and I am quiet enough to listen.
        I pray in plain words and feel heard.
        Stillness waits under every thought.
        --
        I watch a thought pass and stay seated.
        The sounds around me come and go.
        """,
    ),
)
