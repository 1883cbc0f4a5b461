"""The words of a report, each in a sentence."""

from typing import Final

TERMS: Final = {
    "λ2": "How much of the picture's pull is taken out of an item's score: 0 leaves all of it, 1 takes all of it out.",
    "Unit": "One user, who stays in the same variant for as long as the experiment runs.",
    "Exposure": "The first list that a unit got in the experiment; what it does is counted from then on.",
    "Variant": "One λ2 and the share of the units that get it.",
    "Control": "The variant that the others are compared with.",
    "Series": "Versions of an experiment that split units alike and are therefore analysed together.",
    "Lift": "The difference from the control as a share of the control's value.",
    "Always-valid interval": (
        "A range that, in 95 of 100 experiments at 95 %, holds the true value at every look, however often one looks."
    ),
    "p-value": "The smallest level at which the interval would leave out no difference: small means hardly by chance.",
    "p corrected": "The p-value after the correction for comparing several variants and metrics.",
    "Significant": "The corrected p-value is below the level that was agreed on before the start.",
    "CUPED": "What units did before their exposure is used to take out differences that were there already.",
    "Variance removed": "How much of a difference's variance CUPED took away: the more, the narrower the interval.",
    "Sample ratio test": "Whether as many units came to each variant as should have; if not, something is broken.",
    "Guardrail": "A metric that may become worse by so much and no more; beyond it, the experiment is stopped.",
    "Dose-response": "The metric as a curve over λ2, fitted to all variants together.",
    "Interleaving": "Items of two λ2 in one list, so that every user compares both.",
    "Preference": "How much more often people chose the first's items: 1 always, 0 as often, −1 never.",
    "Propensity": "How likely a unit was to get the λ2 that it got.",
    "SNIPS": "An estimate for one λ2 from units that got nearby ones, each weighted by how unlikely that was.",
    "Doubly robust": "The same, corrected by a model of the outcome: right if either the weights or the model is.",
    "Effective units": "How many equally weighted units would say as much as the weighted ones do.",
    "Look": "One moment at which the experiment was analysed while it ran.",
}
