"""Studies: what the forms, the null treatments and λ2 do, on real data and in the simulated shop."""
