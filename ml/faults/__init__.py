"""Fault groups: clusters of abnormal recordings with similar sound, found without labels.

The steps are standardisation, PCA and k-means, as in the original project: summaries of the abnormal recordings, two
principal components, three clusters. Added here:

- The caller uses only training recordings without augmentation.
- Groups are rated by silhouette (P. Rousseeuw, J. Comput. Appl. Math. 20, 1987) and by stability: whether half of the
  sessions give the same groups (after T. Lange et al., Neural Computation 16, 2004).
- Agreement with true faults is compared with chance.

A group is a hypothesis. Groups are called ``group 1``, ``group 2`` and so on until a person listens and gives names.

Grouping needs scikit-learn, from the extra "train". It is imported when it is first used.
"""
