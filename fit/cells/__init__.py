"""Single cells as differentiable problems: models, simulation, likelihoods and losses."""
