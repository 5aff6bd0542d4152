"""Running text for the rendered pages: sentences of our own in seven languages. In: random generator. Out: paragraphs, titles.

Every character is one that the recogniser's pack has. It lacks accented Greek and the final sigma, so Greek is set in capitals,
which need neither.
"""

import numpy as np

from text import SENTENCES

# Longer sentences than those of `text.py`, so that paragraphs have words to break at their line ends.
LONGER = {
    "en": [
        "The committee had expected a simple answer, but the engineers returned with twelve pages of measurements and a "
        "request for another season.",
        "Nobody remembered who had painted the sign, although several inhabitants claimed that their grandparents had "
        "paid for the colours.",
        "Between the station and the harbour there is a small museum, which explains how nets, ropes and baskets were "
        "manufactured before the railway came.",
        "In the following chapters the observations are arranged by month, because the temperature of the water changes "
        "more slowly than that of the air.",
        "If the second experiment is repeated with colder water, the difference between both samples disappears within "
        "the uncertainty of the instrument.",
        "A letter from 1874 mentions the bridge for the first time; it describes a narrow wooden construction that "
        "could carry two horses.",
    ],
    "de": [
        "Die Untersuchung der alten Brücke dauerte länger als erwartet, weil der Wasserstand im September ungewöhnlich "
        "hoch gewesen war.",
        "Niemand wusste genau, wann die Bibliothek gegründet worden war, doch die ältesten Verzeichnisse stammen aus "
        "dem siebzehnten Jahrhundert.",
        "Zwischen dem Bahnhof und dem Hafen liegt ein kleines Museum, in dem man die Werkzeuge der früheren Bewohner "
        "besichtigen kann.",
        "Wenn der zweite Versuch mit kälterem Wasser wiederholt wird, verschwindet der Unterschied zwischen den beiden "
        "Proben beinahe vollständig.",
        "Nach der Besprechung wurden die Ergebnisse zusammengefasst und an alle Mitglieder der Gesellschaft verschickt.",
    ],
    "fr": [
        "La commission attendait une réponse simple, mais les ingénieurs sont revenus avec douze pages de mesures et "
        "une demande pour la saison suivante.",
        "Personne ne se souvenait de celui qui avait peint l’enseigne, bien que plusieurs habitants aient prétendu que "
        "leurs parents l’avaient connue.",
        "Entre la gare et le port se trouve un petit musée qui explique comment les filets et les paniers étaient "
        "fabriqués avant l’arrivée du chemin de fer.",
        "Dans les chapitres suivants, les observations sont classées par mois, car la température de l’eau change plus "
        "lentement que celle de l’air.",
    ],
    "es": [
        "La comisión esperaba una respuesta sencilla, pero los ingenieros volvieron con doce páginas de medidas y una "
        "petición para la temporada siguiente.",
        "Nadie recordaba quién había pintado el letrero, aunque varios vecinos aseguraban que sus abuelos habían pagado "
        "los colores.",
        "Entre la estación y el puerto hay un pequeño museo que explica cómo se fabricaban las redes y los cestos antes "
        "de la llegada del ferrocarril.",
        "En los capítulos siguientes las observaciones están ordenadas por meses, porque la temperatura del agua cambia "
        "más despacio que la del aire.",
    ],
    "it": [
        "La commissione si aspettava una risposta semplice, ma gli ingegneri tornarono con dodici pagine di misure e "
        "una richiesta per la stagione successiva.",
        "Nessuno ricordava chi avesse dipinto l’insegna, anche se molti abitanti sostenevano che i loro nonni avevano "
        "pagato i colori.",
        "Tra la stazione e il porto si trova un piccolo museo che racconta come venivano fabbricate le reti prima "
        "dell’arrivo della ferrovia.",
        "Nei capitoli seguenti le osservazioni sono ordinate per mese, perché la temperatura dell’acqua cambia più "
        "lentamente di quella dell’aria.",
    ],
    "pl": [
        "Komisja spodziewała się prostej odpowiedzi, ale inżynierowie wrócili z dwunastoma stronami pomiarów i prośbą o "
        "następny sezon.",
        "Nikt nie pamiętał, kto namalował szyld, chociaż kilku mieszkańców twierdziło, że ich dziadkowie zapłacili za "
        "farby.",
        "Między dworcem a portem znajduje się małe muzeum, które pokazuje, jak wyrabiano sieci i kosze przed "
        "nadejściem kolei.",
        "W następnych rozdziałach obserwacje są ułożone według miesięcy, ponieważ temperatura wody zmienia się wolniej "
        "niż temperatura powietrza.",
    ],
    "el": [
        "Η ΕΠΙΤΡΟΠΗ ΠΕΡΙΜΕΝΕ ΜΙΑ ΑΠΛΗ ΑΠΑΝΤΗΣΗ, ΑΛΛΑ ΟΙ ΜΗΧΑΝΙΚΟΙ ΓΥΡΙΣΑΝ ΜΕ ΔΩΔΕΚΑ ΣΕΛΙΔΕΣ ΜΕΤΡΗΣΕΩΝ.",
        "ΚΑΝΕΙΣ ΔΕΝ ΘΥΜΟΤΑΝ ΠΟΙΟΣ ΕΙΧΕ ΖΩΓΡΑΦΙΣΕΙ ΤΗΝ ΠΙΝΑΚΙΔΑ, ΑΝ ΚΑΙ ΠΟΛΛΟΙ ΚΑΤΟΙΚΟΙ ΕΛΕΓΑΝ ΟΤΙ ΤΗΝ ΗΞΕΡΑΝ.",
        "ΑΝΑΜΕΣΑ ΣΤΟΝ ΣΤΑΘΜΟ ΚΑΙ ΣΤΟ ΛΙΜΑΝΙ ΥΠΑΡΧΕΙ ΕΝΑ ΜΙΚΡΟ ΜΟΥΣΕΙΟ ΜΕ ΠΑΛΙΑ ΕΡΓΑΛΕΙΑ ΚΑΙ ΔΙΧΤΥΑ.",
        "ΣΤΑ ΕΠΟΜΕΝΑ ΚΕΦΑΛΑΙΑ ΟΙ ΠΑΡΑΤΗΡΗΣΕΙΣ ΕΙΝΑΙ ΤΑΞΙΝΟΜΗΜΕΝΕΣ ΚΑΤΑ ΜΗΝΑ, ΓΙΑΤΙ ΤΟ ΝΕΡΟ ΑΛΛΑΖΕΙ ΑΡΓΑ.",
        "ΤΟ ΧΕΙΜΩΝΑ Ο ΦΑΡΟΣ ΑΝΑΒΕΙ ΝΩΡΙΣ ΚΑΙ Ο ΦΥΛΑΚΑΣ ΓΡΑΦΕΙ ΚΑΘΕ ΒΡΑΔΥ ΤΟΝ ΚΑΙΡΟ ΣΕ ΕΝΑ ΒΙΒΛΙΟ.",
    ],
}

TITLES = {
    "en": ["Measurements at the old bridge", "A history of small harbours", "Methods", "Results", "Earlier work",
           "The second season", "Ropes and baskets"],
    "de": ["Messungen an der alten Brücke", "Eine Geschichte kleiner Häfen", "Verfahren", "Ergebnisse", "Frühere Arbeiten",
           "Der zweite Sommer", "Seile und Körbe"],
    "fr": ["Mesures près du vieux pont", "Une histoire des petits ports", "Méthodes", "Résultats", "Travaux antérieurs",
           "La seconde saison", "Cordes et paniers"],
    "es": ["Medidas en el puente viejo", "Una historia de puertos pequeños", "Métodos", "Resultados", "Trabajos previos",
           "La segunda temporada", "Cuerdas y cestos"],
    "it": ["Misure presso il vecchio ponte", "Una storia di piccoli porti", "Metodi", "Risultati", "Lavori precedenti",
           "La seconda stagione", "Corde e cesti"],
    "pl": ["Pomiary przy starym moście", "Historia małych portów", "Metody", "Wyniki", "Wcześniejsze prace",
           "Drugi sezon", "Liny i kosze"],
    "el": ["ΜΕΤΡΗΣΕΙΣ ΣΤΗΝ ΠΑΛΙΑ ΓΕΦΥΡΑ", "ΙΣΤΟΡΙΑ ΤΩΝ ΜΙΚΡΩΝ ΛΙΜΑΝΙΩΝ", "ΜΕΘΟΔΟΙ", "ΑΠΟΤΕΛΕΣΜΑΤΑ", "ΠΑΛΙΕΣ ΕΡΓΑΣΙΕΣ",
           "Η ΔΕΥΤΕΡΗ ΕΠΟΧΗ", "ΣΧΟΙΝΙΑ ΚΑΙ ΚΑΛΑΘΙΑ"],
}

FIGURE = {"en": "Figure", "de": "Abbildung", "fr": "Figure", "es": "Figura", "it": "Figura", "pl": "Rysunek", "el": "ΣΧΗΜΑ"}
TABLE = {"en": "Table", "de": "Tabelle", "fr": "Tableau", "es": "Tabla", "it": "Tabella", "pl": "Tabela", "el": "ΠΙΝΑΚΑΣ"}
# The head and the first cells of a table.
CELLS = {
    "en": ["Place", "North pier", "South pier", "Old mill", "Island", "Lighthouse", "Quarry", "Meadow"],
    "de": ["Ort", "Nordufer", "Südufer", "Alte Mühle", "Insel", "Leuchtturm", "Steinbruch", "Wiese"],
    "fr": ["Lieu", "Quai nord", "Quai sud", "Vieux moulin", "Île", "Phare", "Carrière", "Pré"],
    "es": ["Lugar", "Muelle norte", "Muelle sur", "Molino viejo", "Isla", "Faro", "Cantera", "Prado"],
    "it": ["Luogo", "Molo nord", "Molo sud", "Mulino", "Isola", "Faro", "Cava", "Prato"],
    "pl": ["Miejsce", "Molo", "Brzeg", "Stary młyn", "Wyspa", "Latarnia", "Kopalnia", "Polana"],
    "el": ["ΤΟΠΟΣ", "ΒΟΡΡΑΣ", "ΝΟΤΟΣ", "ΜΥΛΟΣ", "ΝΗΣΙ", "ΦΑΡΟΣ", "ΛΟΦΟΣ", "ΚΗΠΟΣ"],
}
LANGUAGES = list(LONGER)


def paragraph(rng: np.random.Generator, language: str, sentences: int) -> str:
    """`sentences` sentences of a language; the same one never twice in a row."""
    known = LONGER[language] * 2 + SENTENCES.get(language, [])
    # Headings among the sentences of `text.py` have no full stop.
    known = [s for s in known if s[-1] in ".!?"]
    said = []
    while len(said) < sentences:
        sentence = known[rng.integers(len(known))]
        if not said or said[-1] != sentence:
            said.append(sentence)
    return " ".join(said)


def hyphenate(word: str) -> list[tuple[str, str]]:
    """Where a word may break, latest first: between a vowel with its consonant and a consonant with its vowel.

    Not any language's rules, only what looks like them. `harbour` -> [("har", "bour")].
    """
    vowels = "aeiouyäöüáéíóúàèìòùâêîôûąęαεηιουω"
    found = []
    for i in range(len(word) - 3, 2, -1):
        before, at, after = word[i - 1], word[i], word[i + 1]
        if (before.isalpha() and at.isalpha() and after.isalpha() and at.lower() not in vowels
                and after.lower() in vowels and any(c.lower() in vowels for c in word[:i])):
            found.append((word[:i], word[i:]))
    return found
