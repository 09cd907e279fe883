"""Published folds of public datasets, for comparable metrics."""

COVID19_FOLDS = (
    (
        "coronacases_007",
        "coronacases_008",
        "radiopaedia_36_86526_0",
        "radiopaedia_4_85506_1",
    ),
    (
        "coronacases_004",
        "coronacases_009",
        "radiopaedia_14_85914_0",
        "radiopaedia_7_85703_0",
    ),
    (
        "coronacases_001",
        "coronacases_010",
        "radiopaedia_10_85902_1",
        "radiopaedia_29_86491_1",
    ),
    (
        "coronacases_003",
        "coronacases_005",
        "radiopaedia_27_86410_0",
        "radiopaedia_40_86625_0",
    ),
    (
        "coronacases_002",
        "coronacases_006",
        "radiopaedia_10_85902_3",
        "radiopaedia_29_86490_1",
    ),
)
"""The five folds of the COVID-19 CT Lung and Infection Segmentation Dataset (Ma et al. 2020,
https://doi.org/10.5281/zenodo.3757476): the test cases of each fold. They are the training cases in
the protocol with 4 training and 16 test cases (Ma et al. 2021, https://doi.org/10.1002/mp.14676).

The folds are drawn by scan, not by patient. 10_85902_1 and 10_85902_3 seem to show one patient, and
so do 29_86490_1 and 29_86491_1; they are in folds 2 and 4, so metrics of these may be too high.
"""
