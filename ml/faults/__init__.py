"""Groups of alike faults, found without anybody having named them: standardise, PCA, k-means, and how far to trust it.

The idea is the original's: summaries of the abnormal recordings, two principal components, three clusters. What it
lacked is here: only training recordings as they were recorded (the caller's choice), groups judged by silhouette (P.
Rousseeuw, J. Comput. Appl. Math. 20, 1987) and by whether half of the sessions give the same groups again (after
T. Lange et al., Neural Computation 16, 2004), and agreement with true faults beside what chance would give. A group is
a hypothesis: it is called ``group 1``, ``group 2`` and so on until somebody has listened to it and names it.

Needs scikit-learn, which comes with the extra "train" and is imported when first used.
"""
