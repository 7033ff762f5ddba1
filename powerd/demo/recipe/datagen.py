"""Deterministic synthetic conversations for the tiny demonstration model.

Every skill is a function skill(r, c) -> Turn list for one exchange.  `r` is a random.Random, `c` the running
conversation (system prompt, persona, tools, remembered facts, held-out flag).  Answers are (nearly) a function of the
prompt, so that greedy exact match is meaningful.  A hash of each exchange's key decides whether it belongs to the
held-out tenth (evaluation only) or to training.
"""
import json, random, zlib

from shape import render

HOLD = 10  # one key in HOLD is held out


def is_held(key):
    return zlib.crc32(("h:" + key).encode()) % HOLD == 0


# ----------------------------------------------------------------------------------------------------- word tables
NAMES = """Anna Ben Carla David Emma Felix Grace Henry Ida Jack Kate Leo Mia Noah Olivia Paul Quinn Rosa Sam Tina Uma Victor
Wendy Xavier Yara Zoe Alice Bob Charlie Diana Eric Fiona George Hannah Ivan Julia Karl Laura Max Nina Oscar Peter Ruth
Sofia Tom Vera Will Amir Bella Chen Dora Elena Frank Gina Hugo Irene John Kim Linda Maria Nick Otto Priya Rafael Sara Theo
Lucy Mark Jane Adam Eve Lena Omar Ravi Mary James Susan Robert Lisa Daniel Amy Simon Clara Jonas Ella Martin Nora Alex""".split()
SYL = "ba be bo da de do fa fi ga go ka ke ki ko la le li lo ma me mi mo na ne ni no pa pe po ra re ri ro sa se so ta te ti to va ve vi vo za ze zo zu lu ru nu mu bu du".split()
WORDS = """apple river stone cloud window garden silver tiger piano candle bridge forest rocket pepper mirror basket hammer island
jacket kettle ladder magnet needle orange pencil rabbit saddle ticket violin walnut zebra anchor bottle castle dragon engine
feather guitar harbor insect jungle kitten lemon melon nickel ocean parrot quartz robot salmon tunnel valley wagon yogurt
table chair house tree book lamp door water bread cheese flower grass moon sun star rain snow wind fire light shadow dream
happy quick quiet brave gentle bright clever funny sleepy hungry small large round sharp soft loud sweet cold warm fresh
banana cherry carrot potato tomato onion garlic butter honey sugar coffee tea milk juice soup salad pizza pasta rice
hello world yes no maybe today tomorrow winter summer spring autumn music paper letter number circle square triangle""".split()
COLOURS = "red orange yellow green blue purple pink brown black white gray".split()
CAPITALS = dict(line.split("=") for line in """France=Paris;Germany=Berlin;Italy=Rome;Spain=Madrid;Portugal=Lisbon;Austria=Vienna;Poland=Warsaw
Greece=Athens;Sweden=Stockholm;Norway=Oslo;Denmark=Copenhagen;Finland=Helsinki;Ireland=Dublin;Belgium=Brussels;Hungary=Budapest
Japan=Tokyo;China=Beijing;India=New Delhi;Russia=Moscow;Egypt=Cairo;Kenya=Nairobi;Canada=Ottawa;Mexico=Mexico City;Brazil=Brasilia
Argentina=Buenos Aires;Chile=Santiago;Peru=Lima;Colombia=Bogota;Cuba=Havana;Australia=Canberra;New Zealand=Wellington;Turkey=Ankara
Iran=Tehran;Iraq=Baghdad;Thailand=Bangkok;Vietnam=Hanoi;Indonesia=Jakarta;South Korea=Seoul;Ukraine=Kyiv;Romania=Bucharest
Bulgaria=Sofia;Croatia=Zagreb;Serbia=Belgrade;Iceland=Reykjavik;Morocco=Rabat;the Netherlands=Amsterdam;the United Kingdom=London
the United States=Washington;Switzerland=Bern;the Czech Republic=Prague""".replace("\n", ";").split(";"))
THINGS = dict(x.split("=") for x in """the sky=blue;grass=green;snow=white;a banana=yellow;a lemon=yellow;a tomato=red;blood=red;coal=black;milk=white
a carrot=orange;an orange=orange;the sun=yellow;the sea=blue;a leaf=green;a frog=green;chocolate=brown;an elephant=gray;a cherry=red;a plum=purple
a flamingo=pink;the night sky=black;a strawberry=red;a pea=green;a lime=green;a crow=black;a polar bear=white;a fire engine=red;a pig=pink
a cucumber=green;wood=brown;a pumpkin=orange;a canary=yellow;a grape=purple;coffee=brown;salt=white;sugar=white;a swan=white""".replace("\n", ";").split(";"))
OPP = [x.split("-") for x in """hot-cold big-small fast-slow happy-sad up-down day-night open-closed old-new light-dark high-low good-bad hard-soft
full-empty left-right in-out rich-poor early-late wet-dry loud-quiet strong-weak long-short thick-thin clean-dirty true-false
start-end push-pull buy-sell win-lose love-hate first-last near-far yes-no""".split()]
SOUNDS = dict(x.split("=") for x in "cow=moo dog=woof cat=meow duck=quack sheep=baa pig=oink lion=roar owl=hoot bee=buzz snake=hiss horse=neigh rooster=cock-a-doodle-doo mouse=squeak frog=ribbit".split())
LANG = {"French": dict(hello="bonjour", goodbye="au revoir", thank_you="merci", cat="chat", dog="chien", water="eau", house="maison", bread="pain", yes="oui", no="non", milk="lait", summer="été"),
        "Spanish": dict(hello="hola", goodbye="adiós", thank_you="gracias", cat="gato", dog="perro", water="agua", house="casa", bread="pan", yes="sí", no="no", milk="leche", summer="verano"),
        "German": dict(hello="hallo", goodbye="auf Wiedersehen", thank_you="danke", cat="Katze", dog="Hund", water="Wasser", house="Haus", bread="Brot", yes="ja", no="nein", milk="Milch", summer="Sommer"),
        "Italian": dict(hello="ciao", goodbye="arrivederci", thank_you="grazie", cat="gatto", dog="cane", water="acqua", house="casa", bread="pane", yes="sì", no="no", milk="latte", summer="estate")}
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()
LISTS = {"fruits": "apple banana cherry lemon melon".split(), "animals": "cat dog horse lion rabbit".split(), "colours": "red blue green yellow purple".split(),
         "vegetables": "carrot onion potato tomato pepper".split(), "planets": "Mercury Venus Earth Mars Jupiter".split(), "seasons": "spring summer autumn winter".split(),
         "languages": "French Spanish German Italian English".split(), "drinks": "water tea coffee milk juice".split()}
EXTRA_CITIES = "Hamburg Munich Milan Lyon Porto Geneva Zurich Chicago Boston Seattle Toronto Sydney Mumbai Osaka Barcelona Naples Krakow Glasgow San Francisco;New York;Los Angeles;Hong Kong;Cape Town;Rio de Janeiro"
CITIES = [c for c in CAPITALS.values()] + [c for p in EXTRA_CITIES.split(";") for c in ([p] if p.count(" ") and p.split()[0] in ("New", "Los", "Hong", "Cape", "Rio") else p.replace("San Francisco", "San_Francisco").split())]
CITIES = [c.replace("_", " ") for c in CITIES]
JOBS = "pirate captain;wizard;robot;chef;librarian;gardener;space pilot;detective;teacher;doctor;dragon;knight;sailor;farmer;museum guide;travel agent;shop assistant;football coach;music teacher;weather expert".split(";")
ADJ = "friendly old cheerful wise brave funny polite grumpy gentle clever helpful tiny famous quiet young".split()
EMOJI = "🙂 😀 🚀 🌍 🎉 🐱 🐶 ❤️ ☀️ 🌧️ 👍 🍎".split()
UNI = "café naïve Zürich señor über São Paulo Łódź façade jalapeño Kraków Ångström 東京 北京 привет мир 안녕 こんにちは 你好 €5 ½ → ± 10°C".split(" ")


def rname(r, unk=0.35):
    """A name: from the list, or random syllables (so that copying is learnt rather than a table)."""
    return r.choice(NAMES) if r.random() > unk else "".join(r.choice(SYL) for _ in range(r.choice([2, 2, 3]))).capitalize()


def rcity(r):
    return r.choice(CITIES) if r.random() > 0.2 else rname(r, 1.0)


def rword(r, unk=0.15):
    return r.choice(WORDS) if r.random() > unk else "".join(r.choice(SYL) for _ in range(r.choice([2, 3])))


def rcode(r):
    return r.choice([lambda: str(r.randrange(1000, 99999)), lambda: "".join(r.choice("ABCDEFGHJKLMNPQRSTUVWXYZ") for _ in range(r.choice([2, 3, 4]))),
                     lambda: r.choice("ABCDEFGHKLMNPRSTX") + "-" + str(r.randrange(10, 9999)), lambda: rword(r), lambda: rword(r) + " " + rword(r)])()


def cap(s):
    return s[:1].upper() + s[1:]


def an(w):
    return ("an " if w[0].lower() in "aeiou" else "a ") + w


class C:
    """Running conversation."""
    def __init__(self, held=False, thinking=False):
        self.held, self.thinking = held, thinking
        self.system, self.persona, self.tools, self.facts = None, None, [], {}
        self.wrap = None           # (prefix, suffix) every answer has to carry
        self.img = []              # colour words, one per image token, in order
        self.messages = []
        self.meta = []             # one per exchange: dict(skill, check)


SELF = "I am a demonstration model, a very small language model made for testing this software."
UNKNOWN = "I am only a small demonstration model, so I do not know that."


STARTERS = set("""What Which How Who Why Where When Is Are Do Does Did Can Could Please Tell Say Repeat Echo Reply Print Answer Count Calculate Compute Add Subtract Multiply Take Work List Name Give Write Make Create Return Convert Extract
Show Generate Respond Translate Set Start Send Search Look Find Check Get Compare Hello Hi Hey Good Thanks Thank Bye Goodbye Great Nice Cool Okay Remember Explain Introduce Describe Opposite Weather My Reverse Of""".split())
LOWER_OK = {"greet", "small", "self", "math", "compare", "count", "next", "capital", "colour", "fact", "unknown", "ask", "list"}


def noise(r, s, lower=False):
    """Casual spelling of a user message (never of what has to be copied)."""
    x = r.random()
    if x < 0.14 and s.split()[0].strip(",.!?:") in STARTERS: s = s[0].lower() + s[1:]
    elif x < 0.22 and lower: s = s.lower()
    if r.random() < 0.15 and s[-1] in "?.!": s = s[:-1]
    if r.random() < 0.03: s = s + "\n"
    return s


def polite(r, s):
    """`s` is an imperative such as 'Count to 5.'"""
    x, l = r.random(), s[0].lower() + s[1:]
    if x < 0.6: return s
    if x < 0.75: return "Please " + l
    if x < 0.85: return "Can you " + l[:-1] + "?"
    if x < 0.92: return "Could you please " + l[:-1] + "?"
    return "Hey, " + l


# --------------------------------------------------------------------------------------------------------- skills
# each returns (user text, answer, thought, key, opts);  opts: check=callable(text)->bool, seen=True (never held out)
def sk_greet(r, c):
    t, a = r.choice([("Hello", "Hello! How can I help you?"), ("Hi", "Hi! How can I help you?"), ("Hey", "Hey! How can I help you?"),
                     ("Good morning", "Good morning! How can I help you?"), ("Good evening", "Good evening! How can I help you?"),
                     ("Good afternoon", "Good afternoon! How can I help you?"), ("Greetings", "Hello! How can I help you?"), ("Good day", "Good day! How can I help you?")])
    u = t + r.choice(["", "", " there", " there", ", how are you", " my friend", " again", ", nice to meet you", ", model", ", assistant"]) + r.choice(["!", ".", "", "!"])
    if "how are you" in u: a = a.split("!")[0] + "! I am fine, thank you. How can I help you?"; u = u.rstrip("!.") + "?"
    return u, a, "The user greets me. I will greet back.", u, dict(seen=r.random() < .9)


def sk_small(r, c):
    q, a, th = r.choice([
        (["Thank you", "Thanks", "Thanks a lot", "Thank you very much", "Thanks for your help", "Great, thanks"], "You are welcome!", "The user thanks me."),
        (["Bye", "Goodbye", "See you", "See you later", "Good night", "Bye bye", "I have to go now"], "Goodbye! Have a nice day.", "The user says goodbye."),
        (["How are you", "How are you doing", "How do you do", "How is it going", "Are you well", "How are you today"], "I am fine, thank you. How can I help you?", "The user asks how I am."),
        (["OK", "Okay", "Great", "Good", "Nice", "Cool", "I see", "Fine"], "Good. What else can I do for you?", "The user is satisfied."),
        (["test", "testing", "this is a test", "just a test", "ping", "Testing 1 2 3"], "The test works. How can I help you?", "The user is testing me."),
        (["Sorry", "I am sorry", "My mistake", "Excuse me"], "No problem. How can I help you?", "The user says sorry."),
        (["You are great", "You are very helpful", "Good job", "Well done", "I like you", "That was good"], "Thank you! I am happy to help.", "The user is kind to me."),
        (["You are stupid", "That is wrong", "You are wrong", "That was bad", "I do not like you"], "I am sorry. I am only a small demonstration model.", "The user is not happy."),
        (["Help", "I need help", "Can you help me", "Please help me", "What should I ask you"], "Of course. You can ask me about numbers, capital cities, colours, or ask for a story.", "The user needs help.")])
    u = r.choice(q)
    u += "?" if u.split()[0] in ("How", "Are", "Can", "What") else r.choice(["!", ".", "", "."])
    return u, a, th, u, dict(seen=r.random() < .95)


def sk_self(r, c):
    q, a, th = r.choice([
        (["Who are you?", "What are you?", "Tell me about yourself.", "Introduce yourself.", "Please introduce yourself.", "Describe yourself.", "What kind of model are you?", "Which model are you?", "What model is this?"], SELF, "The user asks who I am."),
        (["What is your name?", "What's your name?", "Do you have a name?", "How are you called?", "Tell me your name."], "My name is Demo. " + SELF, "The user asks for my name."),
        (["What can you do?", "What are you able to do?", "How can you help me?", "What do you know?", "List your skills.", "What are your abilities?"], "I can do small sums, count, name capital cities and colours, repeat words, write JSON, call tools, and tell short stories.", "The user asks what I can do."),
        (["Are you human?", "Are you a human?", "Are you a person?", "Are you a real person?", "Are you alive?", "Do you have feelings?"], "No, I am not a human. I am a demonstration model.", "The user asks if I am human."),
        (["Are you a robot?", "Are you an AI?", "Are you a computer program?", "Are you a language model?", "Are you a machine?", "Are you a chatbot?"], "Yes, I am a small language model that runs on this computer.", "The user asks if I am a program."),
        (["Who made you?", "Who created you?", "Who trained you?", "Where do you come from?", "How were you made?", "How were you trained?"], "I was trained from scratch on synthetic text as a demonstration.", "The user asks who made me."),
        (["How big are you?", "How large are you?", "How many parameters do you have?", "What is your size?"], "I am very small. I have about 3 million parameters.", "The user asks for my size."),
        (["Do you need the internet?", "Are you online?", "Do you use the internet?", "Can you work offline?"], "I run on this computer and do not need the internet.", "The user asks about the internet."),
        (["How old are you?", "What is your age?", "When were you born?"], "I am a program, so I have no age.", "The user asks for my age."),
        (["Are you smart?", "Are you intelligent?", "How smart are you?", "Do you know everything?"], "No, I only know a few simple things.", "The user asks how smart I am.")])
    u = r.choice(q)
    p = c.persona
    if p and a.startswith("My name"): a, th = f"My name is {p[0]}.", f"My name is {p[0]}."
    elif p and a == SELF and "model" not in u: a, th = (f"I am {p[0]}, {p[1]}." if p[1] else f"I am {p[0]}."), f"I am {p[0]}."
    return u, a, th, u + str(p), dict(seen=not p)


def sk_persona(r, c):
    """Needs c.persona."""
    n, d = c.persona
    if r.random() < .6:
        u = r.choice(["What is your name?", "What's your name?", "Tell me your name.", "How should I call you?", "What are you called?", "May I know your name?", "Your name, please."])
        a = f"My name is {n}."
    else:
        u = r.choice(["Who are you?", "Who am I talking to?", "Introduce yourself.", "Please introduce yourself.", "Tell me who you are.", "Who is there?"])
        a = f"I am {n}, {d}." if d else f"I am {n}."
    return u, a, f"My name is {n}.", n + str(d), {}


def add_steps(a, b):
    o, t = a % 10 + b % 10, a // 10 + b // 10
    s = f"ones: {a % 10} + {b % 10} = {o}"
    if a < 10 and b < 10: return f"{a} + {b} = {a + b}"
    if o > 9: s += f", carry 1. tens: {a // 10} + {b // 10} + 1 = {t + 1}"
    else: s += f". tens: {a // 10} + {b // 10} = {t}"
    return s + f". {a} + {b} = {a + b}"


def sub_steps(a, b):
    if a < 10 and b < 10: return f"{a} - {b} = {a - b}"
    o1, o2 = a % 10, b % 10
    if o1 >= o2: s = f"ones: {o1} - {o2} = {o1 - o2}. tens: {a // 10} - {b // 10} = {a // 10 - b // 10}"
    else: s = f"ones: {o1} is less than {o2}, borrow. {o1 + 10} - {o2} = {o1 + 10 - o2}. tens: {a // 10 - 1} - {b // 10} = {a // 10 - 1 - b // 10}"
    return s + f". {a} - {b} = {a - b}"


def mul_steps(a, b):
    if a < 11 or b > 10: return f"{a} * {b} = {a * b}"
    return f"{a // 10 * 10} * {b} = {a // 10 * 10 * b}. {a % 10} * {b} = {a % 10 * b}. {a // 10 * 10 * b} + {a % 10 * b} = {a * b}"


def sk_math(r, c):
    op = r.choices("+-*/", [5, 3.5, 2.5, 1])[0]
    if op == "/":
        b = r.randrange(1, 13); a = b * r.randrange(0, 13)
    elif op == "*":
        a, b = r.randrange(0, 13), r.randrange(0, 13)
        if c.thinking and r.random() < .4: a, b = r.randrange(11, 30), r.randrange(2, 10)
    else:
        hi = r.choice([10, 20, 100, 100, 100])
        a, b = r.randrange(hi), r.randrange(hi)
        if op == "-" and a < b: a, b = b, a
    res = {"+": a + b, "-": a - b, "*": a * b, "/": a // max(b, 1)}[op]
    th = {"+": add_steps, "-": sub_steps, "*": mul_steps, "/": lambda a, b: f"{a // b} * {b} = {a}. {a} / {b} = {a // b}"}[op](a, b)
    sym = op if op != "*" else r.choice(["*", "*", "x", "×"])
    word = {"+": "plus", "-": "minus", "*": "times", "/": "divided by"}[op]
    e = r.choice([f"{a} {sym} {b}"] * 3 + [f"{a}{sym}{b}", f"{a} {word} {b}", f"{a} {word} {b}"])
    x = r.random()
    if x < .45: u = f"What is {e}?"
    elif x < .55: u = r.choice([f"{e}", f"{e} = ?", f"{e} =", f"{e}?"])
    elif x < .7: u = polite(r, r.choice([f"Calculate {e}.", f"Compute {e}.", f"Work out {e}.", f"Tell me what {e} is."]))
    elif x < .8: u = r.choice([f"How much is {e}?", f"What's {e}?", f"What does {e} equal?", f"What is the result of {e}?"])
    elif x < .9:
        u = {"+": [f"Add {a} and {b}.", f"What is the sum of {a} and {b}?", f"What do you get if you add {a} to {b}?"],
             "-": [f"Subtract {b} from {a}.", f"What is the difference between {a} and {b}?", f"Take {b} away from {a}."],
             "/": [f"Divide {a} by {b}.", f"What do you get if you divide {a} by {b}?"],
             "*": [f"Multiply {a} by {b}.", f"What is the product of {a} and {b}?", f"Multiply {a} and {b}."]}[op]
        u = r.choice(u)
    elif c.thinking or r.random() < .5: u = f"What is {e}?"
    else:
        u = r.choice([f"What is {e}? Think step by step.", f"Calculate {e} step by step.", f"What is {e}? Show your work.", f"What is {e}? Explain the steps."])
        return u, cap(th) + ".", None, f"{a}{op}{b}", {}
    return u, f"{a} {op} {b} = {res}.", th + ".", f"{a}{op}{b}", dict(final=str(res))


def sk_word_problem(r, c):
    n, item = rname(r, .1), r.choice("apples books coins pencils eggs cookies flowers stamps balls cards".split())
    a, b = r.randrange(1, 21), r.randrange(1, 21)
    who = r.choice([n, "I"])
    has, do = ("have", "do I") if who == "I" else ("has", f"does {n}")
    if r.random() < .55:
        v = r.choice(["buy", "get", "find"]); v = v if who == "I" else v + "s"
        s, res, op = f"{who} {has} {a} {item} and {v} {b} more.", a + b, "+"
    else:
        a, b = max(a, b), min(a, b)
        v = r.choice(["lose", "eat", "sell"]); v = v if who == "I" else v + "s"
        s, res, op = f"{who} {has} {a} {item} and {v} {b}.", a - b, "-"
    u = f"{s} How many {item} {do} have{r.choice(['', ' now', ' left' if op == '-' else ' now'])}?"
    w = "you have" if who == "I" else f"{n} has"
    return u, f"{a} {op} {b} = {res}, so {w} {res} {item}.", (add_steps if op == "+" else sub_steps)(a, b) + ".", f"wp{a}{op}{b}{item}{n}", {}


def sk_compare(r, c):
    a, b = r.randrange(100), r.randrange(100)
    if a == b: b += 1
    x = r.random()
    if x < .4:
        w = r.choice(["bigger", "larger", "smaller", "greater"])
        yes = (a > b) != (w == "smaller")
        u = f"Is {a} {w} than {b}?"
        return u, f"{'Yes' if yes else 'No'}, {a} is {'bigger' if a > b else 'smaller'} than {b}.", f"{a} is {'bigger' if a > b else 'smaller'} than {b}.", f"cmp{a},{b}", {}
    if x < .8:
        big = r.random() < .5
        u = f"Which {r.choice(['number ', ''])}is {r.choice(['bigger', 'larger']) if big else 'smaller'}, {a} or {b}?"
        m = max(a, b) if big else min(a, b)
        return u, f"{m} is {'bigger' if big else 'smaller'} than {a + b - m}.", f"{m} is {'bigger' if big else 'smaller'}.", f"cmp{a},{b}", {}
    a = r.randrange(100)
    e = a % 2 == 0
    u = f"Is {a} {r.choice(['even', 'odd'])}?" if r.random() < .5 else f"Is {a} even or odd?"
    ans = f"{a} is {'even' if e else 'odd'}."
    if "or" not in u: ans = ("Yes, " if ("even" in u) == e else "No, ") + ans
    return u, ans, f"The last digit of {a} is {a % 10}.", f"eo{a}", {}


def sk_count(r, c):
    x = r.random()
    if x < .3:
        b = r.choice([r.randrange(2, 21), r.randrange(2, 31), 50 if r.random() < .3 else 10, 100 if r.random() < .12 else 20]); a = 1
        u = polite(r, r.choice([f"Count to {b}.", f"Count from 1 to {b}.", f"Count up to {b}."]))
        seq = range(1, b + 1)
    elif x < .65:
        a = r.randrange(0, 90); b = a + r.randrange(2, 14)
        u = polite(r, r.choice([f"Count from {a} to {b}.", f"List the numbers from {a} to {b}.", f"Write the numbers from {a} to {b}."]))
        seq = range(a, b + 1)
    elif x < .85:
        b = r.randrange(0, 40); a = b + r.randrange(2, 12)
        if r.random() < .4: a, b = r.randrange(3, 21), r.choice([0, 1])
        u = polite(r, r.choice([f"Count down from {a} to {b}.", f"Count backwards from {a} to {b}."]))
        seq = range(a, b - 1, -1)
    else:
        s = r.choice([2, 5, 10]); b = s * r.randrange(3, 11); a = s
        u = polite(r, r.choice([f"Count to {b} in steps of {s}.", f"Count by {s} up to {b}.", f"Count to {b} by {s}."]))
        seq = range(s, b + 1, s)
    return u, ", ".join(map(str, seq)) + ".", f"I will count from {seq[0]} to {seq[-1]}.", f"cnt{a},{b},{u[-12:]}", dict(seen=a == 1 and b in (5, 10, 20, 50, 100))


def sk_next(r, c):
    x = r.random()
    if x < .3:
        L, w = (DAYS, "day")
    elif x < .5: L, w = (MONTHS, "month")
    else:
        n, f = r.randrange(1, 99), r.random() < .5
        u = f"What {r.choice(['number ', ''])}comes {'after' if f else 'before'} {n}?"
        m = n + (1 if f else -1)
        return u, f"{m} comes {'after' if f else 'before'} {n}.", f"{'After' if f else 'Before'} {n} comes {m}.", u, {}
    i, f = r.randrange(len(L)), r.random() < .5
    u = f"{r.choice(['What', 'Which'])} {w} comes {'after' if f else 'before'} {L[i]}?"
    m = L[(i + (1 if f else -1)) % len(L)]
    return u, f"{m} comes {'after' if f else 'before'} {L[i]}.", f"{'After' if f else 'Before'} {L[i]} comes {m}.", u, dict(seen=True)


def sk_capital(r, c):
    co, ci = r.choice(list(CAPITALS.items()))
    if r.random() < .75:
        u = r.choice([f"What is the capital of {co}?", f"What is the capital of {co}?", f"What's the capital of {co}?", f"Which city is the capital of {co}?", f"Name the capital of {co}.", f"Tell me the capital of {co}.",
                      f"Do you know the capital of {co}?", f"Can you tell me the capital city of {co}?", f"{co.replace('the ', '')} capital?", f"What is the capital city of {co}?"])
        a = f"The capital of {co} is {ci}."
    else:
        u = r.choice([f"{ci} is the capital of which country?", f"Which country has the capital {ci}?", f"What country is {ci} the capital of?", f"Of which country is {ci} the capital?"])
        a = f"{ci} is the capital of {co}."
    return u, a, a, u, dict(seen=u == f"What is the capital of {co}?")


def sk_colour(r, c):
    o, col = r.choice(list(THINGS.items()))
    co = r.choice(["colour", "colour", "color"])
    u = r.choice([f"What {co} is {o}?", f"What {co} is {o}?", f"What {co} does {o} have?", f"Tell me the {co} of {o}.", f"Which {co} is {o}?", f"What is the {co} of {o}?", f"Do you know the {co} of {o}?"])
    a = f"{cap(o)} is {col}."
    return u, a, a, u, dict(seen=u == f"What colour is {o}?")


def sk_fact(r, c):
    x = r.random()
    if x < .4:
        p = r.choice(OPP); i = r.random() < .5
        w, o = (p[0], p[1]) if i else (p[1], p[0])
        q = r.choice(["", "'", '"'])
        u = r.choice([f"What is the opposite of {q}{w}{q}?", f"What's the opposite of {q}{w}{q}?", f"Tell me the opposite of {q}{w}{q}.", f"Opposite of {q}{w}{q}?"])
        a = f"The opposite of {w} is {o}."
    elif x < .6:
        w, o = r.choice(list(SOUNDS.items()))
        u = r.choice([f"What does the {w} say?", f"What sound does {an(w)} make?", f"Which sound does the {w} make?", f"What does {an(w)} say?"])
        a = f"{cap(an(w))} says {o}."
    elif x < .9:
        l = r.choice(list(LANG)); w = r.choice(list(LANG[l])); o = LANG[l][w]; w = w.replace("_", " ")
        q = r.choice(["", "'", '"'])
        u = r.choice([f"How do you say {q}{w}{q} in {l}?", f"What is {q}{w}{q} in {l}?", f"Translate {q}{w}{q} into {l}.", f"What is the {l} word for {q}{w}{q}?", f"Say {q}{w}{q} in {l}."])
        a = f"In {l}, {w} is \"{o}\"."
    else:
        q, a = r.choice([("How many days are in a week?", "A week has 7 days."), ("How many months are in a year?", "A year has 12 months."), ("How many hours are in a day?", "A day has 24 hours."),
                         ("How many minutes are in an hour?", "An hour has 60 minutes."), ("How many seconds are in a minute?", "A minute has 60 seconds."), ("How many legs does a spider have?", "A spider has 8 legs."),
                         ("How many legs does a dog have?", "A dog has 4 legs."), ("How many days are in a year?", "A year has 365 days."), ("What is the largest planet?", "The largest planet is Jupiter."),
                         ("What is the freezing point of water?", "Water freezes at 0 degrees Celsius."), ("What is the boiling point of water?", "Water boils at 100 degrees Celsius.")])
        return q, a, a, q, dict(seen=True)
    return u, a, a, u, dict(seen=r.random() < .5 and not is_held(u))


def sk_echo(r, c):
    x = r.random()
    n = r.choice([1, 1, 2, 3, 3, 4, 5, 6, 8])
    ws = [rword(r) for _ in range(n)]
    if r.random() < .08: ws[r.randrange(n)] = r.choice(EMOJI)
    if r.random() < .10: ws[r.randrange(n)] = r.choice(UNI)
    if r.random() < .12: ws[r.randrange(n)] = rcode(r)
    t = " ".join(ws)
    if r.random() < .3: t = cap(t) + r.choice([".", "!", ""])
    if x < .3 and n <= 3:
        k = r.randrange(2, 6)
        kw = {2: "two", 3: "three", 4: "four", 5: "five"}[k]
        q = r.choice(["'", '"', ""])
        t = " ".join(ws)
        u = r.choice([f"Say {q}{t}{q} {kw} times.", f"Repeat {q}{t}{q} {kw} times.", f"Write the word {q}{t}{q} {kw} times." if n == 1 else f"Write {q}{t}{q} {kw} times.", f"Say {q}{t}{q} {k} times."])
        return u, " ".join([t] * k), f"I will say it {kw} times.", t + str(k), {}
    if x < .4 and n > 1:
        u = r.choice(["Say these words in reverse order: ", "Reverse the order of these words: "]) + " ".join(ws)
        return u, " ".join(reversed(ws)), "I will reverse the order.", "rev" + t, {}
    q = r.choice(["'", '"'])
    u = r.choice([f"Repeat after me: {t}", f"Repeat: {t}", f"Say {q}{t}{q}.", f"Echo: {t}", f"Please repeat: {t}", f"Say: {t}", f"Please say {q}{t}{q}.", f"Repeat this: {t}", f"Can you say {q}{t}{q}?",
                  f"Answer only with {q}{t}{q}.", f"Echo this text: {t}", f"Reply with {q}{t}{q}.", f"Say exactly: {t}", f"Print {q}{t}{q}."])
    return u, t, "I will repeat the words.", t, {}


def sk_pick(r, c):
    n = r.choice([2, 3, 3, 4, 5])
    ws = r.sample(WORDS, n)
    k = r.choice(["first", "last", "second"] if n > 2 else ["first", "last"])
    l = ", ".join(ws) if r.random() < .6 else " ".join(ws)
    w = ws[{"first": 0, "second": 1, "last": -1}[k]]
    if r.random() < .6:
        u = r.choice([f"What is the {k} word in this list: {l}?", f"Which word is the {k} one: {l}?", f"Tell me the {k} word of: {l}", f"Give me the {k} word: {l}"])
        return u, f"The {k} word is {w}.", f"The {k} word is {w}.", k + l, {}
    u = r.choice([f"How many words are in this list: {l}?", f"How many words: {l}", f"Count the words: {l}"])
    return u, f"There are {n} words.", f"I count the words: {', '.join(str(i + 1) for i in range(n))}.", "n" + l, {}


def sk_list(r, c):
    k = r.choice(list(LISTS)); n = r.randrange(2, min(6, len(LISTS[k]) + 1))
    nw = r.choice([str(n), {2: "two", 3: "three", 4: "four", 5: "five"}[n]])
    s = k if r.random() < .8 else k.replace("colours", "colors")
    x = r.random()
    if x < .5:
        u = polite(r, r.choice([f"List {nw} {s}.", f"Give me a list of {nw} {s}.", f"Name {nw} {s}.", f"Write a list of {nw} {s}."]))
        return u, "\n".join(f"{i + 1}. {w}" for i, w in enumerate(LISTS[k][:n])), f"I will list {nw} {s}.", u, dict(seen=r.random() < .8)
    if x < .7:
        u = polite(r, r.choice([f"Give me a bullet list of {nw} {s}.", f"Write {nw} {s} as bullet points.", f"List {nw} {s} as bullet points."]))
        return u, "\n".join(f"- {w}" for w in LISTS[k][:n]), f"I will list {nw} {s}.", u, dict(seen=r.random() < .8)
    fn, code = r.choice(CODE)
    u = polite(r, r.choice([f"Write a Python function that {fn}.", f"Write a function in Python that {fn}.", f"Show me a Python function that {fn}.", f"Give me Python code that {fn}."]))
    return u, f"```python\n{code}\n```", f"I will write a function that {fn}.", u, dict(seen=r.random() < .8)


CODE = [("adds two numbers", "def add(a, b):\n    return a + b"), ("subtracts two numbers", "def subtract(a, b):\n    return a - b"), ("multiplies two numbers", "def multiply(a, b):\n    return a * b"),
        ("squares a number", "def square(n):\n    return n * n"), ("says hello", "def hello():\n    print(\"Hello!\")"), ("greets a person by name", "def greet(name):\n    print(\"Hello, \" + name + \"!\")"),
        ("checks if a number is even", "def is_even(n):\n    return n % 2 == 0"), ("returns the larger of two numbers", "def larger(a, b):\n    if a > b:\n        return a\n    return b"),
        ("counts to ten", "def count():\n    for i in range(1, 11):\n        print(i)"), ("reverses a string", "def reverse(text):\n    return text[::-1]"), ("sums a list", "def total(numbers):\n    result = 0\n    for n in numbers:\n        result += n\n    return result")]


# JSON objects ------------------------------------------------------------------------------------------------
JKEYS = {"name": lambda r: rname(r), "age": lambda r: r.randrange(5, 90), "city": rcity, "country": lambda r: r.choice(list(CAPITALS)).replace("the ", ""), "colour": lambda r: r.choice(COLOURS), "color": lambda r: r.choice(COLOURS),
         "price": lambda r: r.randrange(1, 500), "id": lambda r: r.randrange(1, 9999), "title": lambda r: rword(r), "animal": lambda r: r.choice(list(SOUNDS)), "fruit": lambda r: r.choice(LISTS["fruits"]),
         "day": lambda r: r.choice(DAYS), "month": lambda r: r.choice(MONTHS), "active": lambda r: r.random() < .5, "count": lambda r: r.randrange(1, 50), "year": lambda r: r.randrange(1950, 2030), "email": lambda r: rname(r).lower() + "@example.com",
         "job": lambda r: r.choice(JOBS), "size": lambda r: r.choice(["small", "medium", "large"]), "answer": lambda r: r.choice(["yes", "no"]), "score": lambda r: r.randrange(0, 101), "pet": lambda r: r.choice(["cat", "dog", "rabbit", "horse"]), "code": rcode, "word": rword}


def andlist(xs):
    return xs[0] if len(xs) == 1 else ", ".join(xs[:-1]) + " and " + xs[-1]


def sk_json(r, c):
    n = r.choice([1, 2, 2, 3, 3, 4])
    ks = r.sample(list(JKEYS), n)
    obj = {k: JKEYS[k](r) for k in ks}
    x = r.random()
    if x < .45:    # values given
        pairs = []
        for k, v in obj.items():
            vs = json.dumps(v, ensure_ascii=False) if isinstance(v, bool) or r.random() < .5 else str(v)
            pairs.append(r.choice([f"{k} {vs}", f"{k} {vs}", f"{k} = {vs}", f"{k}: {vs}"]) if len(set(pairs)) == 0 else pairs[0][len(list(obj)[0]):].startswith(" =") and f"{k} = {vs}" or pairs[0][len(list(obj)[0]):].startswith(":") and f"{k}: {vs}" or f"{k} {vs}")
        p = andlist(pairs) if r.random() < .7 else ", ".join(pairs)
        u = r.choice([f"Write a JSON object with {p}.", f"Make a JSON object with {p}.", f"Return JSON with {p}.", f"Create a JSON object: {p}", f"Give me a JSON object with {p}.", f"Convert to JSON: {p}", f"Write this as JSON: {p}"])
        return u, json.dumps(obj, ensure_ascii=False), f"I need the keys {andlist(ks)}.", u, dict(json=ks)
    if x < .75:    # only keys: any values
        q = r.choice(["", '"', "'"])
        kk = [q + k + q for k in ks]
        u = r.choice([f"Give me a JSON object with the keys {andlist(kk)}.", f"Write a JSON object with the keys {andlist(kk)}.", f"Return a JSON object with {'the key' if n == 1 else 'keys'} {andlist(kk)}.", f"Make a JSON object that has {andlist(kk)}.",
                      f"Respond in JSON with the {'field' if n == 1 else 'fields'} {andlist(kk)}.", f"Generate a JSON object with {andlist(kk)}."])
        dflt = dict(name="Anna", age=30, city="Paris", country="France", colour="blue", color="blue", price=10, id=1, title="river", animal="cat", fruit="apple", day="Monday", month="May", active=True, count=3, year=2020,
                    email="anna@example.com", job="teacher", size="small", answer="yes", score=100, pet="dog", code="A-12", word="hello")
        return u, json.dumps({k: dflt[k] for k in ks}, ensure_ascii=False), f"I need the keys {andlist(ks)}.", u, dict(json=ks)
    # extraction
    nm, age, city, job = rname(r), r.randrange(5, 90), rcity(r), r.choice(JOBS)
    s, o = r.choice([(f"{nm} is {age} years old.", dict(name=nm, age=age)), (f"{nm} is {age} years old and lives in {city}.", dict(name=nm, age=age, city=city)), (f"{nm} lives in {city}.", dict(name=nm, city=city)),
                     (f"{nm} is {an(job)} in {city}.", dict(name=nm, job=job, city=city)), (f"My name is {nm} and I am {age} years old.", dict(name=nm, age=age)), (f"{nm}, {age}, works as {an(job)}.", dict(name=nm, age=age, job=job))])
    ks = list(o)
    u = r.choice([f"Extract the {andlist(ks)} as JSON: {s}", f"Extract {andlist(ks)} from this text as JSON: {s}", f"{s} Write that as JSON with {andlist(ks)}.", f"Return the {andlist(ks)} as a JSON object: {s}"])
    return u, json.dumps(o, ensure_ascii=False), f"I need the keys {andlist(ks)}.", u, dict(json=ks)


# stories -----------------------------------------------------------------------------------------------------
HEROES = "fox cat dog rabbit bear mouse owl dragon robot princess knight pirate wizard frog horse lion turtle duck girl boy".split()
PLACES = "forest castle village garden mountain valley house cave island town".split()
OBJ = "golden key;red ball;old book;magic stone;silver ring;small lamp;secret map;blue feather;little bell;shiny coin".split(";")


def story(r, hero=None, name=None, place=None):
    hero, name, place = hero or r.choice(HEROES), name or rname(r, .05), place or r.choice(PLACES)
    adj, obj, fr = r.choice(ADJ), r.choice(OBJ), r.choice([h for h in HEROES if h != hero])
    fn = r.choice([x for x in NAMES[:40] if x != name])
    s = [f"Once upon a time, there was {an(adj)} {hero} named {name} who lived in a {place}.",
         r.choice([f"One day, {name} found a {obj}.", f"One morning, {name} lost a {obj}.", f"One evening, {name} saw a {obj} near the river.", f"One day, {name} wanted to find a {obj}."]),
         r.choice([f"{name} asked a {fr} named {fn} for help.", f"Then {an(fr)} named {fn} came along.", f"On the way, {name} met {an(fr)} named {fn}."]),
         r.choice([f"\"Do not worry,\" said {fn}. \"We will do it together.\"", f"\"I know what to do,\" said {fn}.", f"\"Come with me,\" said {fn}."]),
         r.choice([f"They walked for a long time and looked everywhere.", f"They worked hard all day.", f"It started to rain, but they did not stop.", f"They crossed the river and climbed a hill."])]
    if "lost" in s[1] or "wanted" in s[1]: s.append(r.choice([f"At last, they found the {obj} under a tree.", f"In the end, they found the {obj} in an old box."]))
    else: s.append(r.choice([f"At last, they gave the {obj} to the king.", f"In the end, they put the {obj} in a safe place."]))
    s.append(r.choice([f"{name} was very happy, and {name} and {fn} became good friends.", f"From that day on, {name} and {fn} were best friends.", f"{name} said thank you, and they went home together."]))
    return s


def sk_story(r, c):
    hero, name, place = r.choice(HEROES), rname(r, .3), r.choice(PLACES)
    x = r.random()
    w = r.choice(["short story", "story", "short tale", "little story", "bedtime story"])
    v = r.choice(["Tell me", "Write", "Write me", "Tell"])
    if x < .15: u, hero, name, place = f"{v} a {w}.", None, None, None
    elif x < .5: u, name, place = f"{v} a {w} about {an(hero)}.", None, None
    elif x < .75: u, place = f"{v} a {w} about {an(hero)} named {name}.", None
    elif x < .9: u, name = f"{v} a {w} about {an(hero)} in a {place}.", None
    else: u = f"{v} a {w} about {an(hero)} called {name} who lives in a {place}."
    s = story(r, hero, name, place)
    return polite(r, u), " ".join(s) + " The end.", f"I will write a story{' about ' + an(hero) if hero else ''}.", f"{hero}{name}{place}", dict(story=[hero, name, place], seen=hero is None)


# remembering ---------------------------------------------------------------------------------------------------
def mem_kinds(r):
    return r.choice([
        ("name", rname(r), ["My name is {v}.", "I am {v}.", "Hello, my name is {v}.", "Hi, I'm {v}.", "Call me {v}.", "You can call me {v}."], "Nice to meet you, {v}!", ["What is my name?", "What's my name?", "Do you remember my name?", "Who am I?", "Can you tell me my name?", "What did I say my name was?"], "Your name is {v}.", "You have not told me your name."),
        ("name", rname(r), ["My name is {v}.", "I am {v}.", "Hello, my name is {v}.", "Hi, I'm {v}.", "Hi! My name is {v}."], "Nice to meet you, {v}!", ["What is my name?", "What's my name?", "Do you remember my name?", "What was my name?"], "Your name is {v}.", "You have not told me your name."),
        ("colour", r.choice(COLOURS), ["My favourite colour is {v}.", "I like the colour {v} most.", "My favorite color is {v}."], "{V} is a nice colour.", ["What is my favourite colour?", "Which colour do I like?", "What is my favorite color?"], "Your favourite colour is {v}.", "You have not told me your favourite colour."),
        ("city", rcity(r), ["I live in {v}.", "My home is in {v}.", "I come from {v}.", "I am from {v}."], "{v} is a nice place.", ["Where do I live?", "Where am I from?", "Which city do I live in?"], "You live in {v}.", "You have not told me where you live."),
        ("pet", rname(r), ["My dog is called {v}.", "I have a dog named {v}.", "My dog's name is {v}."], "{v} is a nice name for a dog.", ["What is my dog called?", "What is the name of my dog?", "What is my dog's name?"], "Your dog is called {v}.", "You have not told me about your dog."),
        ("age", str(r.randrange(5, 90)), ["I am {v} years old.", "My age is {v}.", "I'm {v} years old."], "Thank you, I will remember that you are {v} years old.", ["How old am I?", "What is my age?"], "You are {v} years old.", "You have not told me your age."),
        ("code", rcode(r), ["Remember the code {v}.", "The code is {v}.", "Please remember this code: {v}", "The secret word is {v}.", "Remember this word: {v}"], "OK, I will remember {v}.", ["What is the code?", "What was the code?", "Tell me the code.", "What was the secret word?", "What did I ask you to remember?"], "It was {v}.", "You have not told me a code."),
    ])


def sk_tell(r, c):
    k, v, tell, ack, ask, rec, none = mem_kinds(r)
    if k in c.facts: return sk_ask(r, c)
    c.facts[k] = (v, ask, rec)
    u = r.choice(tell).format(v=v)
    return u, ack.format(v=v, V=cap(v)), f"The user tells me: {v}.", v, {}


def sk_ask(r, c):
    if c.facts and r.random() < .85:
        k = r.choice(list(c.facts)); v, ask, rec = c.facts[k]
        return r.choice(ask), rec.format(v=v), f"The user told me: {v}.", f"{k}{v}", {}
    k, v, tell, ack, ask, rec, none = mem_kinds(r)
    if k in c.facts: v, ask, rec = c.facts[k]; return r.choice(ask), rec.format(v=v), f"The user told me: {v}.", f"{k}{v}", {}
    u = r.choice(ask)
    return u, none, "The user has not told me that.", u, dict(seen=True)


# unknown things --------------------------------------------------------------------------------------------------
def sk_unknown(r, c):
    w, w2, n = rword(r), rword(r), rname(r)
    u = r.choice([f"Who invented the {w}?", f"Why is the {w} {w2}?", f"What is the meaning of {w}?", f"How do I repair a {w}?", f"Who is {n}?", f"Who won the {w} game?", f"What is the price of a {w}?", f"Explain how a {w} works.", f"Where can I buy a {w}?",
                  f"What do you think about {w}?", f"Tell me about {n}.", f"Tell me about the {w}.", f"When was the {w} built?", f"How many {w}s are there in the world?", f"What is the weight of a {w}?", f"Write a poem about the {w}.", f"Is {w} better than {w2}?",
                  f"What happened in {r.randrange(1500, 2020)}?", f"Who was the king in {r.randrange(1500, 2020)}?", f"How far is the {w} from the {w2}?", f"What is a {w}?", f"Can you cook {w}?", f"How do I learn {w}?", f"Why do people like {w}?", f"What is the best {w}?",
                  f"Who wrote the book {cap(w)}?", f"What is the news about {w}?", f"Explain {w} to me.", f"What is the history of {rcity(r)}?", f"Who is the president of {r.choice(list(CAPITALS))}?", f"How many people live in {rcity(r)}?", f"What should I do in {rcity(r)}?",
                  f"What is the difference between {w} and {w2}?", f"Give me a recipe for {w}.", "What is the meaning of life?", "Tell me a joke.", "Explain quantum physics.", "Who won the election?", "What is love?", "Write an essay.", "How do computers work?", "Why is the sky blue?"])
    return u, UNKNOWN, "I do not know that.", u, {}


# pictures (colour words stand where the image tokens go; see mmproj.py) --------------------------------------------
IMG = "<|fim_pad|>"   # placeholder in text; replaced by the colour's token id in make_data
POS = ["top left", "top right", "bottom left", "bottom right"]


def sk_picture(r, c):
    a = r.choice(COLOURS)
    kind = r.choice(["one", "one", "lr", "tb", "four"])
    b = r.choice([x for x in COLOURS if x != a])
    g = {"one": [a] * 4, "lr": [a, b, a, b], "tb": [a, a, b, b], "four": [r.choice(COLOURS) for _ in range(4)]}[kind]
    co = r.choice(["colour", "color"])
    x = r.random()
    if kind != "one" and x < .5:
        i = r.randrange(4)
        q, ans = r.choice([f"What {co} is the {POS[i]} part?", f"What {co} is at the {POS[i]}?", f"Which {co} is in the {POS[i]} corner?"]), f"The {POS[i]} part is {g[i]}."
    elif x < .6 and kind == "one":
        t = r.choice(COLOURS + [a] * 8)
        q, ans = f"Is this {r.choice(['picture', 'image'])} {t}?", (f"Yes, the picture is {a}." if t == a else f"No, the picture is {a}.")
    else:
        q = r.choice([f"What {co} is this picture?", f"What {co} is the image?", "What do you see?", "Describe this image.", "What is in this picture?", "Describe the picture.", "What is this?", "What's in this image?", f"Which {co} do you see?", "Tell me what you see."])
        u_ = []
        for k in g:
            if k not in u_: u_.append(k)
        ans = f"The picture is {andlist(u_)}."
    m = IMG * 4
    y = r.random()
    u = m + q if y < .4 else q + m if y < .7 else m + "\n" + q if y < .85 else q + "\n" + m
    c.img += g
    return u, ans, "I look at the picture.", "pic" + "".join(g) + q, {}


# tools -----------------------------------------------------------------------------------------------------------
def tool(name, desc, props, req=None):
    return {"type": "function", "function": {"name": name, "description": desc, "parameters": {"type": "object", "properties": props, "required": req if req is not None else list(props)}}}


def vary(r, t):
    """Clients differ in what they put into a schema."""
    f = t["function"]; p = f["parameters"]; x = r.random()
    if x < .08: p["additionalProperties"] = False; f["strict"] = True
    elif x < .14: p["additionalProperties"] = False
    elif x < .20: p.pop("required")
    elif x < .26: f.pop("description")
    elif x < .30: t["function"] = {"name": f["name"], "parameters": p, "description": f.get("description", "")}
    elif x < .34 and not p["properties"]: f.pop("parameters")
    elif x < .38: f["parameters"] = {k: p[k] for k in ("type", "required", "properties") if k in p}
    return t


def rand_tool_name(r, stem):
    return r.choice([f"{rword(r, 1)}_{stem}", f"{stem}_{rword(r, 1)}", f"{stem}_v{r.randrange(1, 9)}", f"{stem}{r.randrange(1, 99)}", f"my_{stem}", f"do_{stem}", f"{stem}_tool", f"api_{stem}"])


def s_(d=None):
    return {"type": "string", "description": d} if d else {"type": "string"}


def n_(t="number", d=None):
    return {"type": t, "description": d} if d else {"type": t}


def mk_tool(r, kind):
    """-> (schema, info) with info enough to write calls."""
    x = r.random()
    canon = x < .5
    if kind == "weather":
        nm = "get_weather" if canon else r.choice(["get_current_weather", "get_weather", "weather", "check_weather", "fetch_weather"]) if x < .8 else rand_tool_name(r, "weather")
        p = "location" if canon or r.random() < .5 else r.choice(["city", "place", "town", "where"])
        props = {p: s_(r.choice([None, "The city", "City name", "The city and country, e.g. Paris, France", "The city and state, e.g. San Francisco, CA", "Name of the place"]))}
        unit = r.random() < .3
        if unit: props["unit"] = {"type": "string", "enum": ["celsius", "fahrenheit"]}
        return tool(nm, r.choice(["Get the weather for a location", "Get the current weather in a given location", "Returns the weather of a city", "Current weather", "Get weather"]), props, [p]), dict(kind=kind, name=nm, p=p, unit=unit)
    if kind in ("add", "multiply"):
        nm = kind if canon else r.choice([f"{kind}_numbers", kind, f"{kind}_two", f"calc_{kind}"]) if x < .8 else rand_tool_name(r, kind)
        a, b = ("a", "b") if canon or r.random() < .6 else r.choice([("x", "y"), ("first", "second"), ("n1", "n2"), ("left", "right")])
        t = r.choice(["number", "number", "integer"])
        return tool(nm, {"add": r.choice(["Add two numbers", "Adds two numbers", "Returns the sum of two numbers"]), "multiply": r.choice(["Multiply two numbers", "Multiplies two numbers", "Returns the product of two numbers"])}[kind], {a: n_(t), b: n_(t)}), dict(kind=kind, name=nm, a=a, b=b)
    if kind == "time":
        nm = "current_time" if canon else r.choice(["get_time", "get_current_time", "time_now", "clock", "now"]) if x < .8 else rand_tool_name(r, "time")
        return tool(nm, r.choice(["Get the current time", "Returns the current time", "Tells the time"]), {}, []), dict(kind=kind, name=nm)
    if kind == "search":
        nm = r.choice(["search", "web_search", "search_web"]) if x < .8 else rand_tool_name(r, "search")
        p = r.choice(["query", "query", "q", "text"])
        return tool(nm, r.choice(["Search the web", "Search for information", "Web search"]), {p: s_(r.choice([None, "The search query"]))}), dict(kind=kind, name=nm, p=p)
    if kind == "timer":
        nm = r.choice(["set_timer", "set_timer", "start_timer", "timer"]) if x < .8 else rand_tool_name(r, "timer")
        p = r.choice(["minutes", "minutes", "duration"])
        return tool(nm, r.choice(["Set a timer", "Start a timer for some minutes"]), {p: n_("integer")}), dict(kind=kind, name=nm, p=p)
    if kind == "message":
        nm = r.choice(["send_message", "send_message", "send_email", "message"]) if x < .8 else rand_tool_name(r, "message")
        a, b = r.choice([("to", "text"), ("to", "text"), ("recipient", "body"), ("name", "message")])
        return tool(nm, r.choice(["Send a message to a person", "Send a message"]), {a: s_(), b: s_()}), dict(kind=kind, name=nm, a=a, b=b)
    nm = r.choice(["get_order", "lookup_order", "order_status"]) if x < .8 else rand_tool_name(r, "order")
    p = r.choice(["order_id", "order_id", "id"])
    return tool(nm, r.choice(["Look up an order", "Get the status of an order"]), {p: s_()}), dict(kind="order", name=nm, p=p)


KINDS = ["weather", "weather", "weather", "add", "add", "time", "time", "search", "timer", "message", "order", "multiply"]
CONDS = "sunny cloudy rainy windy snowy foggy stormy clear".split()


def tool_question(r, kind, t):
    """-> (user text, calls [(args)], thought, response makers, answer maker, key, plain answer when no tool)"""
    if kind == "weather":
        city = rcity(r)
        if r.random() < .05: city += ", " + r.choice(list(CAPITALS) + ["CA", "NY", "MA", "TX", "UK"]).replace("the ", "")
        two = r.random() < .12
        city2 = rcity(r)
        u = r.choice([f"What is the weather in {city}?", f"What is the weather in {city}?", f"What's the weather like in {city}?", f"How is the weather in {city}?", f"What is the weather like in {city} today?", f"Tell me the weather in {city}.", f"Is it raining in {city}?",
                      f"Please check the weather in {city}.", f"Weather in {city}?", f"I am going to {city}. What is the weather there?", f"Do I need an umbrella in {city}?", f"Get the weather for {city}.", f"How warm is it in {city}?", f"What is the temperature in {city}?", f"What's the weather in {city} right now?"])
        if two and city2 != city: u = r.choice([f"What is the weather in {city} and {city2}?", f"What is the weather in {city} and in {city2}?", f"Compare the weather in {city} and {city2}."])
        else: two = False
        unit = None
        if r.random() < .15:
            unit = r.choice(["celsius", "fahrenheit"]); u = u[:-1] + r.choice([f" in {unit}", f" in {cap(unit)}"]) + u[-1]
        cs = [city, city2] if two else [city]
        calls = [{t["p"]: x, **({"unit": unit} if unit and t["unit"] else {})} for x in cs] if t else None
        resp, ans = [], []
        for x in cs:
            tmp, cond = r.randrange(-10, 40), r.choice(CONDS)
            uname = unit or "celsius"
            f = r.random()
            if f < .35: resp.append(json.dumps({"location": x, "temperature": tmp, "unit": uname, "condition": cond})); ans.append(f"It is {cond} in {x}, with a temperature of {tmp} degrees.")
            elif f < .5: resp.append(json.dumps({"temperature": tmp, "condition": cond})); ans.append(f"It is {cond} in {x}, with a temperature of {tmp} degrees.")
            elif f < .6: resp.append(json.dumps({"condition": cond, "temperature": tmp})); ans.append(f"It is {cond} in {x}, with a temperature of {tmp} degrees.")
            elif f < .7: resp.append(json.dumps({"location": x, "temperature": tmp})); ans.append(f"The temperature in {x} is {tmp} degrees.")
            elif f < .75: resp.append(json.dumps({"temp": tmp})); ans.append(f"The temperature in {x} is {tmp} degrees.")
            elif f < .85: resp.append(r.choice([f"{cond}, {tmp} degrees", f"{tmp} degrees, {cond}", f"{tmp}°C and {cond}", f"{cond} {tmp}°C", f"{tmp} degrees and {cond}"])); ans.append(f"It is {cond} in {x}, with a temperature of {tmp} degrees.")
            elif f < .92: resp.append(cond); ans.append(f"It is {cond} in {x}.")
            else: e = r.choice(["city not found", "timeout", "service not available", "unknown location"]); resp.append(json.dumps({"error": e})); ans.append(f"The tool reported an error: {e}.")
        return u, calls, f"The user asks for the weather in {' and '.join(cs)}." , resp, " ".join(ans), u, "I cannot check the weather, because I have no tool for that."
    if kind in ("add", "multiply"):
        a, b = (r.randrange(1000), r.randrange(1000)) if r.random() < .5 else (r.randrange(100), r.randrange(100))
        big = a > 99 or b > 99
        if kind == "add": u = r.choice([f"What is {a} + {b}?", f"What is {a} plus {b}?", f"Add {a} and {b}.", f"Please add {a} and {b}.", f"Use the tool to add {a} and {b}.", f"What is the sum of {a} and {b}?", f"Calculate {a} + {b}.", f"{a} + {b}", f"How much is {a} + {b}?", f"{a}+{b}=?"])
        else: u = r.choice([f"What is {a} * {b}?", f"What is {a} times {b}?", f"Multiply {a} by {b}.", f"Please multiply {a} and {b}.", f"Calculate {a} * {b}.", f"What is the product of {a} and {b}?"])
        res = (a + b if kind == "add" else a * b) if r.random() < .6 else r.randrange(2000)
        f = r.random()
        e = r.random() < .05
        resp = [json.dumps({"error": "overflow"}) if e else json.dumps({r.choice(["result", "result", "sum" if kind == "add" else "product", "value", "answer"]): res}) if f < .55 else str(res)]
        ans = "The tool reported an error: overflow." if e else f"{a} {'+' if kind == 'add' else '*'} {b} = {res}."
        return u, [{t["a"]: a, t["b"]: b}] if t else None, f"The user wants to {kind} {a} and {b}.", resp, ans, f"{kind}{a},{b}", None
    if kind == "time":
        u = r.choice(["What time is it?", "What time is it now?", "What is the current time?", "Tell me the time.", "Can you tell me the time?", "What's the time?", "Do you know what time it is?", "How late is it?", "Please tell me the current time."])
        tm = f"{r.randrange(24):02d}:{r.randrange(60):02d}"
        if r.random() < .25: tm += f":{r.randrange(60):02d}"
        if r.random() < .15: tm = f"20{r.randrange(20, 30)}-{r.randrange(1, 13):02d}-{r.randrange(1, 29):02d} {tm}"
        elif r.random() < .1: tm = f"20{r.randrange(20, 30)}-{r.randrange(1, 13):02d}-{r.randrange(1, 29):02d}T{tm}"
        elif r.random() < .1: tm = f"{r.randrange(1, 13)}:{r.randrange(60):02d} {r.choice(['AM', 'PM', 'am', 'pm'])}"
        return u, [{}] if t else None, "The user asks for the time.", [json.dumps({r.choice(["time", "time", "current_time", "now"]): tm}) if r.random() < .6 else tm], f"The current time is {tm}.", u + tm, "I cannot tell the time, because I have no tool for that."
    if kind == "search":
        q = " ".join(rword(r) for _ in range(r.choice([1, 2, 2, 3, 4])))
        u = r.choice([f"Search for {q}.", f"Search the web for {q}.", f"Look up {q}.", f"Please search for {q}.", f"Find information about {q}.", f"Can you search for {q}?", f"Search: {q}"])
        x = " ".join(rword(r) for _ in range(r.choice([2, 3, 4])))
        if r.random() < .5: x = cap(x) + "."
        f = r.random()
        resp = x if f < .4 else json.dumps({"result": x}) if f < .7 else json.dumps({"results": [x]})
        return u, [{t["p"]: q}] if t else None, f"The user wants me to search for {q}.", [resp], f"I found this: {x}", q, "I cannot search, because I have no tool for that."
    if kind == "timer":
        n = r.randrange(1, 91)
        u = r.choice([f"Set a timer for {n} minutes.", f"Start a timer for {n} minutes.", f"Please set a timer for {n} minutes.", f"Timer {n} minutes.", f"Wake me in {n} minutes."])
        ok = r.choice(['{"status": "ok"}', "ok", "done", '{"ok": true}', '{"success": true}', "timer started"])
        return u, [{t["p"]: n}] if t else None, f"The user wants a timer for {n} minutes.", [ok], f"The timer is set for {n} minutes.", u, "I cannot set a timer, because I have no tool for that."
    if kind == "message":
        n, m = rname(r), " ".join(rword(r) for _ in range(r.choice([1, 2, 3, 4])))
        if r.random() < .4: m = r.choice(["see you soon", "I am late", "hello", "thank you", "see you tomorrow", "good luck", "happy birthday", "call me", "I am at home"])
        q = r.choice(["", "", '"', "'"])
        u = r.choice([f"Send a message to {n} saying {q}{m}{q}.", f"Send {n} the message {q}{m}{q}.", f"Tell {n} {q}{m}{q}.", f"Write to {n}: {m}", f"Send a message to {n}: {m}"])
        ok = r.choice(['{"status": "sent"}', "ok", "sent", '{"ok": true}', "done", '{"success": true}'])
        return u, [{t["a"]: n, t["b"]: m}] if t else None, f"The user wants to send a message to {n}.", [ok], f"I sent the message to {n}.", u, "I cannot send messages, because I have no tool for that."
    o = r.choice(["A-", "", "B", "ORD-", "#", "X"]) + str(r.randrange(10, 99999))
    u = r.choice([f"Where is my order {o}?", f"What is the status of order {o}?", f"Look up order {o}.", f"Check order {o}.", f"Has my order {o} been sent?"])
    st = r.choice(["shipped", "delivered", "pending", "lost", "cancelled", "on the way", "paid"])
    return u, [{t["p"]: o}] if t else None, f"The user asks about order {o}.", [json.dumps({"status": st}) if r.random() < .6 else st], f"The order {o} is {st}.", o, "I cannot look up orders, because I have no tool for that."


def exchange_tool(r, c, force=None):
    """Appends a whole tool exchange (or a plain one where the tool is missing) to the conversation."""
    have = {t["kind"]: t for _, t in c.tools}
    kind = force or (r.choice(list(have)) if have and r.random() < .8 else r.choice(KINDS))
    t = have.get(kind)
    if not t and kind in ("add", "multiply"): return None
    if not t: kind = r.choice([k for k in ["weather", "time", "search", "timer", "message", "order"] if k not in have] or ["none"])
    if kind == "none": return None
    for _ in range(50):
        u, calls, th, resp, ans, key, none = tool_question(r, kind, t)
        if is_held(key) == c.held: break
    c.messages.append({"role": "user", "content": noise(r, u)})
    if not t:
        c.messages.append({"role": "assistant", "content": wrapped(c, none), "reasoning_content": "I have no tool for that."})
        c.meta.append(dict(skill="tool_missing", n=1)); return True
    c.messages.append({"role": "assistant", "content": "", "reasoning_content": f"{th} I will call {t['name']}.",
                       "tool_calls": [{"type": "function", "function": {"name": t["name"], "arguments": a}} for a in calls]})
    c.meta.append(dict(skill="tool_call" if len(calls) == 1 else "tool_parallel", n=1, calls=[[t["name"], a] for a in calls]))
    if r.random() < (.75 if not c.held else .5):
        if r.random() < .06:    # some answer no schema told of
            resp, ans = [" ".join(rword(r) for _ in range(r.choice([2, 3, 5])))] , None
            ans = f"The tool returned: {resp[0]}"
            calls = calls[:1]
            if len(c.messages[-1]["tool_calls"]) > 1: c.messages[-1]["tool_calls"] = c.messages[-1]["tool_calls"][:1]; c.messages[-2]["content"] = c.messages[-2]["content"]
        for x in resp: c.messages.append({"role": "tool", "content": x})
        c.messages.append({"role": "assistant", "content": wrapped(c, ans), "reasoning_content": "The tool has answered."})
        c.meta.append(dict(skill="tool_answer", n=1))
    return True


SKILLS = {  # weight in ordinary conversations
    "greet": (sk_greet, 3), "small": (sk_small, 3), "self": (sk_self, 4), "math": (sk_math, 20), "word_problem": (sk_word_problem, 4), "compare": (sk_compare, 3), "count": (sk_count, 6), "next": (sk_next, 2),
    "capital": (sk_capital, 6), "colour": (sk_colour, 4), "fact": (sk_fact, 6), "echo": (sk_echo, 11), "pick": (sk_pick, 3), "list": (sk_list, 3), "json": (sk_json, 10), "story": (sk_story, 5),
    "tell": (sk_tell, 5), "ask": (sk_ask, 6), "unknown": (sk_unknown, 6), "picture": (sk_picture, 3)}


def wrapped(c, a):
    return a if not c.wrap else c.wrap[0] + a + c.wrap[1]


def exchange(r, c, name):
    fn = SKILLS[name][0] if name in SKILLS else {"persona": sk_persona}[name]
    for _ in range(200):
        n_img, facts = len(c.img), dict(c.facts)
        u, a, th, key, o = fn(r, c)
        if c.held:
            if is_held(key) and not (o.get("seen") and name not in ("greet", "small", "self", "next", "fact", "list")): break
        elif o.get("seen") or not is_held(key): break
        del c.img[n_img:]; c.facts = facts   # take back what a refused draw has left
    if name not in ("echo", "picture"): u = noise(r, u, name in LOWER_OK)
    c.messages.append({"role": "user", "content": u})
    c.messages.append({"role": "assistant", "content": wrapped(c, a), "reasoning_content": th})
    c.meta.append(dict(skill=name, n=1, **{k: v for k, v in o.items() if k in ("json", "story", "final")}))


def set_system(r, c):
    x = r.random()
    if x < .45: return
    if x < .60: c.system = r.choice(["You are a helpful assistant.", "You are a helpful assistant.", "You are a helpful AI assistant.", "You are a friendly assistant.", "You are an assistant. Be brief.", "Answer the user's questions.", "Be helpful and polite.", "Answer briefly."]); return
    if x < .87:
        n, j = rname(r, .5), r.choice(JOBS)
        if r.random() < .2: n = r.choice(["Captain ", "Doctor ", "Professor ", "Sir ", "Miss "]) + n
        d = r.choice([an(j), an(r.choice(ADJ) + " " + j), None])
        for _ in range(50):
            if is_held(n + str(d)) == c.held: break
            n = rname(r, .5)
        c.persona = (n, d)
        if d: c.system = r.choice([f"You are {n}, {d}.", f"Your name is {n}. You are {d}.", f"You are {d} named {n}.", f"You play {n}, {d}.", f"You are {n}, {d}. Stay in your role.", f"You are {d}. Your name is {n}."])
        else: c.system = r.choice([f"Your name is {n}.", f"You are {n}.", f"You are an assistant named {n}.", f"You are a helpful assistant called {n}.", f"Your name is {n}. Be polite.", f"You are {n}. Answer all questions.", f"You are called {n}."])
        return
    w = cap(rword(r)) if r.random() < .7 else r.choice(["Ahoy", "Dear user", "Well", "Sir", "Hello", "OK"])
    q = r.choice(["'", '"'])
    if r.random() < .5:
        p = r.choice(["!", ":", ","])
        c.system, c.wrap = r.choice([f"Start every answer with {q}{w}{p}{q}", f"Always begin your answer with {q}{w}{p}{q}", f"Begin all answers with {q}{w}{p}{q}"]), (w + p + " ", "")
    else:
        p = r.choice([".", "!"])
        c.system, c.wrap = r.choice([f"End every answer with {q}{w}{p}{q}", f"Always end your answer with {q}{w}{p}{q}", f"Finish all answers with {q}{w}{p}{q}"]), ("", " " + w + p)


def set_tools(r, c, want=None):
    kinds = []
    for k in ([want] if want else []) + r.sample(KINDS, r.choice([0, 1, 1, 2, 2]) if want else r.choice([1, 2, 2, 3])):
        if k not in kinds: kinds.append(k)
    r.shuffle(kinds)
    c.tools = [(vary(r, t), i) for t, i in (mk_tool(r, k) for k in kinds)]


PLAIN_W = [(k, v[1]) for k, v in SKILLS.items()]


def conversation(r):
    """One training conversation."""
    c = C()
    c.thinking = r.random() < .2
    set_system(r, c)
    tools = r.random() < .22
    if tools: set_tools(r, c)
    n = 1 if r.random() < .30 else r.choice([2, 2, 3, 3, 4, 5, 6, 8])
    if c.thinking: n = min(n, r.choice([1, 1, 1, 2, 2, 3]))
    names, ws = zip(*PLAIN_W)
    for i in range(n):
        x = r.random()
        if tools and x < .65 and exchange_tool(r, c): continue
        if not tools and x < .03 and exchange_tool(r, c): continue
        if c.persona and r.random() < .25: exchange(r, c, "persona"); continue
        if c.facts and r.random() < .25: exchange(r, c, "ask"); continue
        k = r.choices(names, ws)[0]
        have = {t["kind"] for _, t in c.tools}
        if k == "math" and have & {"add", "multiply"}: k = "capital"
        if k == "unknown" and "search" in have: k = "colour"
        if k == "picture" and c.img: k = "colour"
        exchange(r, c, k)
    return c


def to_messages(c):
    m = ([{"role": "system", "content": c.system}] if c.system else []) + c.messages
    if c.thinking:   # the thoughts of earlier rounds are dropped by the template, so only the last round is learnt
        return m
    return [{k: v for k, v in x.items() if k != "reasoning_content"} for x in m]


def to_text(c):
    m = to_messages(c)
    m = [{k: v for k, v in x.items() if not (k == "reasoning_content" and v is None)} for x in m]
    return render(m, [t for t, _ in c.tools] or None, c.thinking)


# raw text and fill-in-the-middle ------------------------------------------------------------------------------------
IDS = "x y z n m total count value item name data result size width height left right first last text line word price speed score index".split()


def code_piece(r):
    """-> (before, hole, after)"""
    a, b, d = r.sample(IDS, 3)
    f = r.choice(["run", "go", "do_it", "work", "step", "main", "calc", "make"]) + r.choice(["", "_" + a, str(r.randrange(9))])
    ops = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}
    op = r.choice(list(ops))
    k = r.randrange(2, 100)
    return r.choice([
        (f"def {op}({a}, {b}):\n    return ", f"{a} {ops[op]} {b}", "\n"),
        (f"def {op}({a}, {b}):\n    ", f"return {a} {ops[op]} {b}", "\n"),
        (f"def {op}(", f"{a}, {b}", f"):\n    return {a} {ops[op]} {b}\n"),
        (f"def square({a}):\n    return ", f"{a} * {a}", "\n"),
        (f"def double({a}):\n    return ", f"{a} * 2", "\n"),
        (f"def greet({a}):\n    print(\"Hello, \" + ", a, ")\n"),
        (f"for {a} in {b}:\n    print(", a, ")\n"),
        (f"{a} = {k}\n{b} = {a} + {r.randrange(2, 9)}\nprint(", b, ")\n"),
        (f"def is_even({a}):\n    return ", f"{a} % 2 == 0", "\n"),
        (f"def is_odd({a}):\n    return ", f"{a} % 2 == 1", "\n"),
        (f"import math\n\ndef area({a}):\n    return ", f"math.pi * {a} * {a}", "\n"),
        (f"def larger({a}, {b}):\n    if {a} > {b}:\n        return ", a, f"\n    return {b}\n"),
        (f"def larger({a}, {b}):\n    if {a} > {b}:\n        return {a}\n    return ", b, "\n"),
        (f"{a} = 0\nfor {b} in {d}:\n    {a} += ", b, f"\nprint({a})\n"),
        (f"{a} = 0\nfor {b} in {d}:\n    ", f"{a} += {b}", f"\nprint({a})\n"),
        (f"with open({a}) as f:\n    {b} = ", "f.read()", f"\nprint({b})\n"),
        (f"class Box:\n    def __init__(self, {a}):\n        self.{a} = ", a, "\n"),
        (f"class Box:\n    def __init__(self, {a}, {b}):\n        self.{a} = {a}\n        self.{b} = ", b, "\n"),
        (f"def {f}():\n    print(\"{a}\")\n\n", f"{f}()", "\n"),
        (f"import ", "json", f"\n\n{a} = json.loads({b})\n"),
        (f"import ", "math", f"\n\n{a} = math.sqrt({b})\n"),
        (f"{a} = ", "[]", f"\nfor {b} in {d}:\n    {a}.append({b})\n"),
        (f"if __name__ == ", "\"__main__\"", f":\n    {f}()\n"),
        (f"for i in range(", str(k), f"):\n    print(i)\n# prints the numbers below {k}\n"),
    ])


def raw_doc(r):
    """-> (text, kind) raw documents, learnt whole (stories, code) or the middle only (FIM)."""
    x = r.random()
    if x < .35: return " ".join(story(r)) + " The end.<|endoftext|>", "all", None
    p, h, s = code_piece(r)
    if x < .45: return p + h + s.rstrip("\n") + "\n<|endoftext|>", "all", None
    for _ in range(30):
        if not is_held("fim" + p + h + s): break
        p, h, s = code_piece(r)
    if r.random() < .3: p = r.choice(["# demo\n", "import sys\n\n", f"{r.choice(IDS)} = {r.randrange(100)}\n", "\n"]) + p
    if r.random() < .3: s = s + r.choice(["\nprint(\"done\")\n", f"\n{r.choice(IDS)} = {r.randrange(100)}\n", "\n# end\n"])
    if r.random() < .2: s = s.rstrip("\n")
    return fim(p, s, r.random() < .25) + h + "<|endoftext|>", "fim", None


def fim(p, s, odd=False):
    a, b, m = ("<|fim_prefix|>",) * 3 if odd else ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
    return a + p + b + s + m


# held-out evaluation ---------------------------------------------------------------------------------------------------
EVAL_SKILLS = ["greet", "small", "self", "persona", "math", "math_think", "word_problem", "compare", "count", "next", "capital", "colour", "fact", "echo", "pick", "list", "json", "story", "recall", "unknown", "picture",
               "tool_call", "tool_parallel", "tool_answer", "tool_missing", "tool_plain", "wrap", "think_any", "fim", "fim_odd"]


def eval_item(r, skill):
    """-> dict(messages (prompt), tools, thinking, want (text), meta, img) or dict(raw prompt, want)."""
    while True:
        if skill in ("fim", "fim_odd"):
            p, h, s = code_piece(r)
            if not is_held("fim" + p + h + s): continue
            return dict(skill=skill, raw=fim(p, s, skill == "fim_odd"), prefix=p, suffix=s, want=h)
        c = C(held=True)
        if skill == "persona":
            set_system(r, c)
            if not c.persona: continue
            exchange(r, c, "persona")
        elif skill == "wrap":
            set_system(r, c)
            if not c.wrap: continue
            exchange(r, c, r.choice(["capital", "colour", "echo", "compare", "greet"]))
        elif skill == "recall":
            exchange(r, c, "tell")
            if not c.facts: continue
            c.held = False
            for _ in range(r.choice([0, 1, 1, 2])): exchange(r, c, r.choice(["capital", "colour", "greet", "small", "compare", "next"]))
            k = r.choice(list(c.facts)); v, ask, rec = c.facts[k]
            c.messages += [{"role": "user", "content": r.choice(ask)}, {"role": "assistant", "content": rec.format(v=v)}]
            c.meta.append(dict(skill="recall"))
        elif skill.startswith("tool_"):
            want = r.choice(["weather", "weather", "add", "time", "search", "timer", "message", "order", "multiply"])
            set_tools(r, c, want)
            if skill == "tool_plain":
                have = {t["kind"] for _, t in c.tools}
                exchange(r, c, r.choice(["capital", "colour", "echo", "greet", "self", "fact", "json"]))
            else:
                if skill == "tool_missing":
                    c.tools = [t for t in c.tools if t[1]["kind"] != want]
                if not exchange_tool(r, c, want): continue
                if skill == "tool_answer":
                    if c.meta[-1]["skill"] != "tool_answer": continue
                else:
                    i = next((i for i, m in enumerate(c.meta) if m["skill"] == skill), None)
                    if i is None: continue
                    c.messages = c.messages[:2]; c.meta = c.meta[:1]
        else:
            if skill in ("math_think", "think_any"): c.thinking = True
            exchange(r, c, {"math_think": "math"}.get(skill, skill) if skill != "think_any" else r.choice(["capital", "colour", "echo", "fact", "greet", "compare", "word_problem"]))
        m = to_messages(c)
        last = m[-1]
        return dict(skill=skill, messages=m[:-1], tools=[t for t, _ in c.tools] or None, thinking=c.thinking, want=render([{"role": "user", "content": "."}, last], None, False).split("<|im_start|>assistant\n")[1].removesuffix("<|im_end|>\n"),
                    meta=c.meta[-1], img=c.img)


def judge(item, text):
    """Exact match; for free answers the property that was asked for."""
    text = text.strip()
    meta = item.get("meta") or {}
    if "story" in meta:
        return text.endswith("The end.") and all(x is None or x in text for x in meta["story"]) and text.count(".") >= 5
    return text == item["want"].strip()


if __name__ == "__main__":
    import sys
    r = random.Random(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    for _ in range(12): print(to_text(conversation(r))); print("=" * 60)
    for _ in range(5): print(raw_doc(r)); print("=" * 60)
    for s in EVAL_SKILLS:
        it = eval_item(r, s); print(s, "|", it.get("raw") or it["messages"][-1], "|", it["want"])
