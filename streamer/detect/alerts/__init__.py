"""From alarms to alerts: those that are active, those that wait for data, and what to train on."""
