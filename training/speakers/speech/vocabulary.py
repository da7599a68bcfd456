"""The grammar of `training.speakers.speech.sentences`: patterns with {slots}, and the words that fill them.

The words are chosen for variety of sounds: every English phoneme occurs in several kinds of word.
"""

SENTENCE_PATTERNS: tuple[str, ...] = (
    "the {adjective} {noun} {past} the {noun} {place}.",
    "my {person} {past} {number} {adjective} {plural} {time}.",
    "{time}, we {past} the {adjective} {noun} {place}.",
    "why would the {person} {verb} a {noun} {place}?",
    "please {verb} the {noun} before you {verb} the {adjective} {noun}.",
    "I think the {person} may {verb} our {adjective} {plural} {time}.",
    "{exclamation}, the {noun} was {adverb} {adjective}, but the {plural} were {adjective}.",
    "could you {verb} {number} {plural} for the {adjective} {person}?",
    "when the {person} {past} the {noun}, everyone {past} the {plural}.",
    "{number} {adjective} {plural} and a {noun} were {place}.",
    "{exclamation}! who {past} the {adjective} {noun} {time}?",
    "{name} and {name} {adverb} {past} the {noun} {place}.",
    "{name} should {verb} the {plural}, or {verb} the {adjective} {noun}.",
    "there is a {adjective} {noun} {place}, said {name}.",
    "it was {name} who {past} the {adjective} {plural} {time}.",
    "do you {verb} the {noun}, or would you rather {verb} the {plural}?",
    "nobody {past} how {adjective} the {noun} was {time}.",
    "we saw {name} {verb} {number} {plural} {place}.",
)

_WORDS: dict[str, str] = {
    "noun": """apple arrow baby ball balloon banana basket beach bell bird boat book bottle box bread bridge brush
        bucket butter button cake camera candle castle chair cheese cherry church cloud coffee coin cottage couch cow
        cup dolphin door dream drum eagle earth elephant engine feather field finger fire fish flower forest fox
        game garage garden giraffe glass goose grape guitar hammer harbour hat hedge horse house ice island jacket jam
        jelly jewel journey juice jungle key kitchen kite ladder lake lamp leaf lemon letter lion map measure melon
        mirror money moon mountain mouse mouth museum music needle nest noise notebook oak ocean oil onion orange oven
        owl paper path peach pear pencil pepper piano picture pie pillow pizza planet plum pocket poem potato puppy
        puzzle queen quilt rabbit radio rain ribbon river road robot rocket roof rope rose salad sandwich shadow shape
        ship shirt shoe shoulder soap soup spoon square star stone storm story sugar sunrise table teacup theatre
        thought thumb thunder ticket tiger toy train treasure tree truth tunnel turtle umbrella valley vase violin
        voice volcano wagon wall watch water wave web whale wheel window wolf wood world yacht yard zebra zoo""",
    "plural": """apples babies balloons beads bees berries birds boats bones books bottles boxes boys brothers bubbles
        cakes cars cats chairs cherries children choices clocks clothes clouds coats cousins daisies doors drums ears
        eggs faces fathers feathers flowers frogs games geese girls gloves hats hills horses houses jars jewels jokes
        keys kings knives ladders leaves lemons letters lights maps measures meals mice mothers mountains mouths noises
        oranges owls pages parrots paths peaches pebbles people photographs pies pigeons plums poems ponies pools
        pumpkins puppies queens questions rings rivers roads ropes roses rules sheep ships shoes shops songs spoons
        squares stars stones stories teachers teeth things thoughts tomatoes toys trees trousers turtles umbrellas
        vegetables visions voices waves wheels windows wings wolves words yachts years""",
    "adjective": """amber ancient angry beige big black blue bold brave brief bright broad broken brown busy calm cheap
        cheerful clean clear clever cold cool crooked curious dark dear deep dirty dry dusty eager early easy empty
        enormous fair famous fast few fine foolish fresh funny fuzzy gentle giant glad golden good grand great green
        grey happy heavy hollow honest hot huge humble jolly joyful junior kind large lazy light little lonely long
        loud low lovely lucky mild modern muddy narrow neat new nice noisy odd old orange pale peaceful plain pleasant
        polite poor precious pretty proud pure purple quick quiet rare red rich rough round royal rusty sharp shiny
        short shy silent silly silver simple small smooth soft sour spicy square strange strong stupid sweet swift
        tall tasty thick thin tiny tough true unusual vast violet warm weak weird white whole wide wild wise wooden
        wonderful yellow young youthful zany""",
    "past": """admired allowed asked baked bought borrowed brought built called carried caught chased cherished chose
        cleaned closed cooked counted covered crossed described discovered divided drew dropped enjoyed examined
        explored fetched finished fixed followed forgot found gave guarded heard helped hid imagined joined judged kept
        kicked kissed knew lifted liked loved made measured mentioned moved needed noticed offered opened ordered owned
        packed painted placed pleased pulled pushed put raised reached remembered rescued saved saw shaped shared
        showed shook sold stole studied taught threw took touched traded trusted understood unpacked used
        visited wanted warmed washed watched weighed wrote""",
    "verb": """admire ask avoid bake become borrow break bring build buy call carry catch change chase choose clean
        close cook count cover cross describe destroy discover draw drop enjoy examine explore feed fetch find finish
        fix follow forget give guard hear help hide hold imagine join judge keep know leave lift like lose love make
        measure meet mention mix move need notice offer open paint pay push pull put raise reach read rescue save see
        sell send shake shape share show steal study teach throw touch trade trust understand use view visit wash watch
        weigh write""",
    "person": """actor aunt baker boss boy brother builder captain chef child cousin daughter doctor driver father
        farmer friend gardener girl grandmother guest guide hero judge king lady lawyer mayor mother musician neighbour
        nephew nurse officer painter pilot poet prince queen sailor singer sister soldier student teacher thief tourist
        uncle waiter writer youth""",
    "number": "two three four five six seven eight nine ten eleven twelve thirteen twenty thirty forty fifty both many "
    "several other",
    "adverb": """always boldly bravely briefly calmly carefully cheerfully clearly finally gently happily hardly
        honestly loudly nearly often oddly proudly quickly quietly rarely really rather slowly smoothly softly suddenly
        surely truly usually warmly wisely""",
    "name": """Abby Adam Amy Beth Bob Chloe Charles Dave Emma Eve Finn Fiona George Gina Hugh Hannah Ian Isla Jack Joy
        Julia Kate Keith Leo Lucy Maya Mark Molly Noah Nora Oscar Owen Paula Peter Quinn Rob Rose Ruth Sasha Shaun
        Theo Thea Una Vera Vince Wayne Wendy Yusuf Zoe""",
    "exclamation": "oh|ah|well|wow|yes|no|look|listen|you see|of course|by the way|oh boy|my goodness|hey|now then|"
    "honestly|for once|maybe",
    "place": """by the river|near the old bridge|under the table|behind the church|in the kitchen|on the roof|at the
        zoo|above the clouds|across the bay|between the houses|outside the theatre|over the moon|beside the pool|in the
        south|on the beach|around the corner|below the tower|at the university|through the fog|along the path|near the
        fire|in Europe|on the ship|far from home|up the hill|in the garage|among the leaves|beyond the wall""",
    "time": """on Monday|every evening|this morning|last year|yesterday|at noon|in the autumn|before breakfast|after the
        show|all day long|a month ago|on Thursday|in July|once in a while|at half past four|during the voyage|too
        early|in February|later on|twice a week|over the weekend|just now|this afternoon|for five hours|in the
        meantime|before the storm""",
}

WORDS: dict[str, tuple[str, ...]] = {
    kind: tuple(" ".join(entry.split()) for entry in (text.split("|") if "|" in text else text.split()))
    for kind, text in _WORDS.items()
}
