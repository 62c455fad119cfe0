//! What a change does: the difference in words, and a forecast.
