"""When drift is worth a retrain: settings, rules, inhibition."""
