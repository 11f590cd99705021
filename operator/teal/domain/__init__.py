"""Pure decisions: schema, diff, plan, transitions, gates, forecast. No I/O and no clock."""
