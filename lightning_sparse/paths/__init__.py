"""Lines and curves through the weight space of one network; may use training, never analysis."""
