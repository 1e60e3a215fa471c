"""The official scores of each data set, the one that ranks methods first."""

from __future__ import annotations

from featherbench.tasks.metrics.bert_score import BERT_SCORE
from featherbench.tasks.metrics.bleu import BLEU, DART_BLEU, DART_BLEU_LOWER_SPLIT, WEBNLG_BLEU
from featherbench.tasks.metrics.bleurt import BLEURT
from featherbench.tasks.metrics.cider import CIDER
from featherbench.tasks.metrics.meteor import DART_METEOR, E2E_METEOR, WEBNLG_METEOR
from featherbench.tasks.metrics.mover_score import MOVER_SCORE
from featherbench.tasks.metrics.nist import NIST_MTEVAL, NIST_PY
from featherbench.tasks.metrics.rouge import ROUGE_L, XSUM_ROUGE
from featherbench.tasks.metrics.ter import DART_TER, WEBNLG_TER

E2E_SCORES = (BLEU, NIST_PY, NIST_MTEVAL, E2E_METEOR, ROUGE_L, CIDER)
WEBNLG_SCORES = (WEBNLG_BLEU, WEBNLG_METEOR, WEBNLG_TER)
DART_SCORES = (DART_BLEU, DART_METEOR, DART_TER, MOVER_SCORE, BERT_SCORE, BLEURT, DART_BLEU_LOWER_SPLIT)
XSUM_SCORES = XSUM_ROUGE
