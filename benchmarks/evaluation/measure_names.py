"""The accepted names of measures: presets, trec_eval's names, and ir_measures' names in any case."""

from __future__ import annotations

import re

PRESETS = {"trec-dl": ("nDCG@10", "RR(rel=2)", "AP(rel=2)", "R(rel=2)@100", "Judged@10")}
"""Names that stand for several measures. TREC's deep learning tracks grade passages 0 to 3, and their AP, RR
and recall count grades 2 and 3 as relevant; without `rel=2`, grade 1 ("related") counts too."""

_TREC_EVAL = {
    "map": "AP",
    "ndcg": "nDCG",
    "recip_rank": "RR",
    "set_p": "SetP",
    "set_recall": "SetR",
    "set_f": "SetF",
    "set_map": "SetAP",
    "num_q": "NumQ",
    "num_ret": "NumRet",
    "num_rel": "NumRel",
    "num_rel_ret": "NumRet(rel=1)",
}
_TREC_EVAL_CUT = {
    "map_cut": "AP",
    "ndcg_cut": "nDCG",
    "p": "P",
    "recall": "R",
    "success": "Success",
    "iprec_at_recall": "IPrec",
}
_CUT = re.compile(r"(\w+?)[_.]([0-9.]+)")
_FAMILY = re.compile(r"[^\s(@]+")


def spelled(name: str) -> str:
    """Translate a measure's name from trec_eval's spelling, or from any case, to ir_measures' spelling.

    `ndcg_cut_10` becomes `nDCG@10`. A name that is not recognised is returned unchanged.
    """
    import ir_measures

    if name.lower() in _TREC_EVAL:
        return _TREC_EVAL[name.lower()]
    families = {family.lower(): family for family in ir_measures.measures.registry}
    cut = _CUT.fullmatch(name)
    if cut is not None:
        family = _TREC_EVAL_CUT.get(cut[1].lower(), families.get(cut[1].lower()))
        if family is not None:
            return f"{family}@{cut[2]}"
    return _FAMILY.sub(lambda match: families.get(match[0].lower(), match[0]), name, count=1)
