"""What to cite: the papers behind the models, fits, scores and controls, by the names that settings and results use.

A report lists what its run used, not everything that the package can do.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

from connectofit.connectome.errors import unknown_name
from connectofit.pipelines.report import Table

REFERENCES = MappingProxyType(
    {
        # The method as a whole
        "multi-scale method": "Wang et al. 2024, arXiv 2406.19708",
        # Neurons
        "lif": "Lapicque 1907; integration: Rotter & Diesmann 1999, Biol Cybern 81:381",
        **{f"glif{k}": "Teeter et al. 2018, Nat Commun 9:709" for k in range(1, 6)},
        "gif": "Mihalas & Niebur 2009, Neural Comput 21:704; Wang et al. 2024, arXiv 2406.19708",
        "adex": "Brette & Gerstner 2005, J Neurophysiol 94:3637",
        "izhikevich": "Izhikevich 2003, IEEE Trans Neural Netw 14:1569",
        "traub_miles": "Traub & Miles 1991, Neuronal Networks of the Hippocampus; Brette et al. 2007, J Comput "
        "Neurosci 23:349",
        "alif": "Bellec et al. 2020, Nat Commun 11:3625",
        "exp_if": "Fourcaud-Trocmé, Hansel, van Vreeswijk & Brunel 2003, J Neurosci 23:11628",
        "qif": "Latham, Richmond, Nelson & Nirenberg 2000, J Neurophysiol 83:808",
        "hodgkin_huxley": "Hodgkin & Huxley 1952, J Physiol 117:500",
        "wang_buzsaki": "Wang & Buzsáki 1996, J Neurosci 16:6402",
        "rate": "Wilson & Cowan 1972, Biophys J 12:1",
        "graded_leaky": "Kunert, Shlizerman & Kutz 2014, Phys Rev E 89:052805",
        # Losses
        "likelihood": "Pillow et al. 2005, J Neurosci 25:11003; Mensi et al. 2012, J Neurophysiol 107:1756; Pozzorini "
        "et al. 2015, PLoS Comput Biol 11:e1004275",
        # Optimisers
        "adam": "Kingma & Ba 2015, ICLR",
        "lbfgs": "Nocedal & Wright 2006, Numerical Optimization, alg. 7.4; Lewis & Overton 2013, Math Program 141:135",
        "lbfgsb": "Byrd, Lu, Nocedal & Zhu 1995, SIAM J Sci Comput 16:1190",
        "differential_evolution": "Storn & Price 1997, J Glob Optim 11:341",
        "nelder_mead": "Nelder & Mead 1965, Comput J 7:308",
        "cma": "Hansen 2016, arXiv 1604.00772",
        "nudged": "Abarbanel, Creveling, Farsian & Kostuk 2009, SIAM J Appl Dyn Syst 8:1341; Levenberg 1944; "
        "Marquardt 1963",
        "horizon": "Abarbanel, Creveling, Farsian & Kostuk 2009, SIAM J Appl Dyn Syst 8:1341",
        "population": "Hansen 2016, arXiv 1604.00772; Nocedal & Wright 2006, Numerical Optimization, alg. 7.4",
        "guided": "escape-rate likelihood (Pillow et al. 2005, J Neurosci 25:11003), then Hansen 2016, arXiv "
        "1604.00772",
        "shooting": "Bock 1983, in Deuflhard & Hairer, Numerical Treatment of Inverse Problems",
        # Uncertainty
        "laplace": "Efron & Hinkley 1978, Biometrika 65:457; Gutenkunst et al. 2007, PLoS Comput Biol 3:e189",
        "bootstrap": "Künsch 1989, Ann Stat 17:1217",
        # Scores
        "gamma": "Kistler, Gerstner & van Hemmen 1997, Neural Comput 9:1015; Jolivet et al. 2008, J Neurosci Methods "
        "169:417",
        "explained_variance": "Teeter et al. 2018, Nat Commun 9:709",
        # Wiring and controls
        "rewired": "Maslov & Sneppen 2002, Science 296:910",
        "distance": "Theodoni et al. 2022, Cereb Cortex 32:15",
        # Experiments and training on activity
        "teacher_student": "Beiran & Litwin-Kumar 2024, bioRxiv 2024.02.22.581667",
        "teacher forcing": "Mikhaeil, Monfared & Durstewitz 2022, NeurIPS 35:11297; Brenner et al. 2022, ICML 162:2292",
        # Tasks
        "evidence": "Morcos & Harvey 2016, Nat Neurosci 19:1672; Wang et al. 2024, arXiv 2406.19708",
        "random_dots": "Britten, Shadlen, Newsome & Movshon 1992, J Neurosci 12:4745",
        "delayed_comparison": "Romo, Brody, Hernández & Lemus 1999, Nature 399:470",
        # Learning rules
        "bptt": "Werbos 1990, Proc IEEE 78:1550; surrogate derivatives: Neftci, Mostafa & Zenke 2019, IEEE Signal "
        "Process Mag 36:51",
        "d_rtrl": "Wang et al., BrainScale; real-time recurrent learning: Williams & Zipser 1989, Neural Comput 1:270",
        "es_d_rtrl": "Wang et al., BrainScale; real-time recurrent learning: Williams & Zipser 1989, Neural Comput "
        "1:270",
        "e_prop": "Bellec et al. 2020, Nat Commun 11:3625",
        "r_stdp": "Izhikevich 2007, Cereb Cortex 17:2443; Frémaux & Gerstner 2016, Front Neural Circuits 9:85",
        # Statistics of weights
        "weight tails": "Clauset, Shalizi & Newman 2009, SIAM Rev 51:661; Vuong 1989, Econometrica 57:307",
    }
)
"""{name: what to cite for it}."""


def references_table(used: Iterable[tuple[str, str]]) -> Table:
    """What a run used and what to cite for it, one row a name.

    used: (what part it played, its name in `REFERENCES`); a name stands once. Raises `UnknownNameError` for a name
    without a reference.
    """
    rows: dict[str, tuple[str, str, str]] = {}
    for part, name in used:
        if name not in REFERENCES:
            raise unknown_name("reference", name, REFERENCES, "what reports cite")
        rows.setdefault(name, (part, name.replace("_", " "), REFERENCES[name]))
    caption = "Models and methods that this run used, and what to cite for them"
    return Table(caption, ("part", "what", "cite"), [*rows.values()])
