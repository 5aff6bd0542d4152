"""What the rendered pages say: sentences of our own in many languages, and generated prices, dates, addresses, codes.

In: a random generator and a face (only characters that it has). Out: lines of text whose characters are all in the
`latin` pack as the source knows it (no typographic low quotes, no accented Greek).
"""

import numpy as np

SENTENCES = {
    "en": [
        "The lighthouse keeper writes down the weather every evening.",
        "Seven boxes of jam were shipped quickly to Bexley.",
        "“Who left the gate open?” asked the miller’s daughter.",
        "Please return all borrowed tools before Friday noon.",
        "A quiet village, a narrow bridge and two old mills.",
        "Chapter IV: How the Printers Saved Their Type",
        "Figure 3 shows the yield per hectare (dry weight).",
        "We measured it twice; the second value was higher.",
        "It wasn't raining, yet everybody carried an umbrella.",
        "Keep refrigerated - best before the date on the lid.",
        "THE ANNUAL MEETING OF THE READING SOCIETY",
        "He fixed the pump, the valve and both of the taps.",
    ],
    "de": [
        "Der Bäcker öffnet früh, weil die Straße dann schon voll ist.",
        "Über den Dächern von Köln kreisen große schwarze Vögel.",
        "Zwölf Äpfel, fünf Möhren und ein Pfund Käse, bitte!",
        "Größe, Gewicht und Maß stehen auf dem Etikett.",
        "Im Frühjahr wird der Garten umgegraben und gedüngt.",
        "Weißt du noch, wie süß die Kirschen waren?",
        "Öffnungszeiten: Montag bis Samstag, 8 bis 18 Uhr",
    ],
    "fr": [
        "L’élève a reçu une lettre de sa grand-mère à Noël.",
        "Où êtes-vous allés après le dîner ? demanda-t-elle.",
        "« C’est déjà l’été », répéta le garçon étonné.",
        "Les forêts brûlées repoussent plus vite qu’on ne croit.",
        "Cœur, œuvre et sœur s’écrivent avec la même ligature.",
        "Il a payé cinq francs pour ce vieux coffret de chêne.",
        "À gauche, la façade ; à droite, l’ancien théâtre.",
    ],
    "es": [
        "El niño pequeño soñaba con montañas y leones.",
        "La estación está cerrada desde el año pasado.",
        "Mañana llegará el pingüino al zoológico de Bogotá.",
        "El público aplaudió después de la última canción.",
        "¿Cuántos días faltan? Ningún calendario lo decía.",
        "Aquí se vende pan, jamón y aceite de Jaén.",
    ],
    "it": [
        "Perché la città è così tranquilla la domenica?",
        "Il caffè costa un euro e venti, però è buono.",
        "Più di cento libri giacciono in quella soffitta.",
        "Lunedì arriverà l’olio nuovo dalle colline.",
        "Chi va piano va sano, diceva la vecchia maestra.",
    ],
    "pt": [
        "A canção começou devagar e terminou em silêncio.",
        "Os pescadores não saíram ao mar por três manhãs.",
        "A avó pôs o pão e as maçãs sobre a mesa.",
        "Informações úteis para quem vem de avião.",
        "Há sessões às nove e às onze, também aos sábados.",
    ],
    "nl": [
        "Het ijs op de vijver was te dun om te schaatsen.",
        "De reünie vindt plaats in het café bij de sluis.",
        "Zijn oom heeft twee koeien en één eigenwijs paard.",
        "Kijk uit: de tweede trede van de trap is los.",
    ],
    "pl": [
        "Żółta łódź płynęła wąską rzeką pod mostem.",
        "Dziękuję, właśnie kupiłem świeże pączki i jabłka.",
        "Księżyc świecił jasno, a ćmy krążyły wokół lampy.",
        "Proszę zamknąć drzwi – jest bardzo zimno.",
        "Gdzie leży mała wieś, w której rośnie dąb?",
    ],
    "cs": [
        "Příliš mnoho koní stálo ve stáji u řeky.",
        "Děti běžely přes louku až k žlutému domku.",
        "Šest švestek, čtyři hrušky a málo času.",
        "Můj dědeček četl noviny každé ráno v kuchyni.",
    ],
    "sv": [
        "På ön växer blåbär, björk och små vita blommor.",
        "Hösten är kort men vackert färgad i fjällen.",
        "Åtta båtar låg förtöjda vid den gamla bryggan.",
        "Får jag låna din cykel över helgen?",
    ],
    "da": [
        "Færgen sejler ikke, når blæsten er så hård.",
        "Rødgrød smager bedst på en varm sommeraften.",
        "Der står en grøn bænk ved åen bag kirken.",
    ],
    "fi": [
        "Järvellä ei näkynyt yhtään venettä sinä yönä.",
        "Äiti lämmitti saunan ja keitti väkevää teetä.",
        "Hyvää päivää, missä on lähin pysäkki?",
    ],
    "hu": [
        "Az öreg hídőr télen is minden éjjel fűtött.",
        "Két tükör függ a szoba keskenyebb falán.",
        "Jó reggelt, kérek egy csésze erős kávét!",
        "Győr és Pécs között több vonat közlekedik.",
    ],
    "ro": [
        "Bătrânul își plimbă câinele în fiecare dimineață.",
        "Școala din sat are două săli și o curte mică.",
        "Întrebarea rămâne fără răspuns până mâine.",
    ],
    "tr": [
        "Güneş doğmadan önce balıkçılar ağlarını topladı.",
        "Küçük çocuk bahçede kırmızı bir uçurtma buldu.",
        "Işıklar söndü, şehir sessizliğe gömüldü.",
        "İstanbul’da yağmur üç gün boyunca dinmedi.",
    ],
    "hr": [
        "Čovjek je šutke gledao žuti čamac na pučini.",
        "Đak je učio pjesmu o moru i nježnom vjetru.",
        "Sutra će biti svježe, uz moguće pljuskove.",
    ],
    "la": [
        "Rosa in horto floret et avis in arbore cantat.",
        "Sine labore nihil crescit nisi herba mala.",
        "Nauta viam longam per mare obscurum quaerit.",
    ],
}

# Single words and formulas, unaccented: the source network has no accented Greek.
GREEK = ["ΑΘΗΝΑ", "ΛΟΓΟΣ", "ΦΩΣ ΚΑΙ ΣΚΙΑ", "ΠΟΤΑΜΟΙ", "ΔΕΛΤΑ", "α + β = γ", "Δx → 0", "λ = 2π/k", "ΩΡΑ", "μ ± σ",
         "θ ≈ 30°", "Σχεδια", "ΞΕΝΟΙ", "ΨΥΧΗ", "ε ≤ 0.05"]

# Letters with diacritics that training is known to have shown, for words no language would give.
RARE_LETTERS = "àáâãäåæçèéêëìíîïñòóôõöøùúûüýāăąćčďđēėęěğģħīįıķľłńņňōőœřśşšťūůűųźżžșțÀÁÂÃÄÅÇÈÉÊËÎÑÓÔÖØÚÜČŁŚŠŽŻÆŐİŞ"
SYLLABLES = ["ba", "co", "di", "fu", "gel", "han", "ir", "jo", "kla", "lem", "mur", "nos", "pri", "qua", "rest", "sa",
             "tel", "und", "vek", "wit", "xa", "yo", "zin", "str", "ach", "ette"]
WORDS = ["Total", "Invoice", "No.", "Ref.", "Page", "Date", "Qty", "Rechnung", "Datum", "Prix", "Fecha", "Summe",
         "VAT", "Tel.", "Fax", "Order", "Room", "Gate", "Vol.", "pp.", "Fig.", "Table", "Net", "Gross"]


def line(rng: np.random.Generator, face, length: int) -> str:
    """One line of at most `length` characters (or one word, if longer) that `face` can draw; never empty."""
    for _ in range(50):
        text = _cut(rng, _KINDS[rng.choice(len(_KINDS), p=_WEIGHTS)](rng), length)
        if text and face.has(text):
            return text
    return "Plain words only"


def _sentence(rng) -> str:
    language = list(SENTENCES)[rng.integers(len(SENTENCES))]
    count = int(rng.integers(1, 4))
    return " ".join(SENTENCES[language][i] for i in rng.integers(len(SENTENCES[language]), size=count))


def _numbers(rng) -> str:
    sign = "€$£¥%"[rng.integers(5)]
    amount = rng.integers(1, 10_000_000) / 100
    samples = [
        f"{amount:,.2f} {sign}", f"{sign}{amount:.2f}", f"{amount:.2f}".replace(".", ","),
        f"{rng.integers(1, 32)}.{rng.integers(1, 13)}.{rng.integers(1900, 2030)}",
        f"{rng.integers(1900, 2030)}-{rng.integers(1, 13):02}-{rng.integers(1, 29):02}",
        f"{rng.integers(0, 24):02}:{rng.integers(0, 60):02}", f"+{rng.integers(1, 99)} {rng.integers(100, 999)} "
        f"{rng.integers(100, 999)}-{rng.integers(1000, 9999)}", f"({rng.integers(1, 99)})", f"#{rng.integers(1, 9999)}",
        f"{rng.integers(1, 99)}°C", f"{rng.integers(1, 500)} × {rng.integers(1, 500)} mm", f"§ {rng.integers(1, 300)}",
        f"{rng.integers(1, 100)} %", f"{rng.integers(2, 60)}/{rng.integers(2, 60)}", f"[{rng.integers(1, 200)}]",
        "".join("ABCDEFGHJKLMNPQRSTUVWXYZ0123456789"[i] for i in rng.integers(34, size=rng.integers(4, 12))),
    ]
    parts = [samples[i] for i in rng.integers(len(samples), size=rng.integers(1, 5))]
    if rng.random() < 0.6:
        parts.insert(0, WORDS[rng.integers(len(WORDS))] + (":" if rng.random() < 0.4 else ""))
    return " ".join(parts)


def _address(rng) -> str:
    name, host = _word(rng), _word(rng)
    end = ["com", "org", "eu", "net", "info"][rng.integers(5)]
    forms = [f"{name}.{host}@{host}.{end}", f"https://www.{host}.{end}/{name}?id={rng.integers(1000)}",
             f"{name}_{rng.integers(100)}@{host}.{end}", f"C:\\{name}\\{host}.txt", f"{name}({host}[{rng.integers(9)}]);",
             f"{{{name}: \"{host}\"}}", f"{name} & {host} | {name}*{host} ~{rng.integers(9)}^2 = <{host}>"]
    return forms[rng.integers(len(forms))]


def _word(rng) -> str:
    return "".join(SYLLABLES[i] for i in rng.integers(len(SYLLABLES), size=rng.integers(1, 4)))


def _rare(rng) -> str:
    words = []
    for _ in range(rng.integers(2, 7)):
        word = _word(rng)
        at = int(rng.integers(len(word)))
        words.append(word[:at] + RARE_LETTERS[rng.integers(len(RARE_LETTERS))] + word[at:])
    return " ".join(words)


def _signs(rng) -> str:
    pieces = ["© 2021", "® ™", "† ‡", "…", "“so”", "‘no’", "«oui»", "— yes —", "– 5 –", "• item", "5 µm", "½ cup", "10 m²",
              "1st ¶ 2", "* * *", "A → B", "3 ≤ n", "x² + y²", "Nr.", "50 ± 2", "a/b", "!?", "90°",
              *GREEK]
    return " ".join(pieces[i] for i in rng.integers(len(pieces), size=rng.integers(2, 6)))


def _capitals(rng) -> str:
    # Turkish dotless i and the sharp s do not survive upper() and back; as shapes they are right.
    return _sentence(rng).upper()


_KINDS = [_sentence, _numbers, _address, _rare, _signs, _capitals]
_WEIGHTS = [0.55, 0.15, 0.08, 0.12, 0.05, 0.05]


def _cut(rng, text: str, length: int) -> str:
    """A run of whole words of at most `length` characters, from a random word on; the first word always stays."""
    words = text.split(" ")
    start = int(rng.integers(len(words))) if len(text) > length else 0
    taken = words[start]
    for word in words[start + 1:]:
        if len(taken) + 1 + len(word) > length:
            break
        taken += " " + word
    return taken
