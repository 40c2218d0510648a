//! Files of places, read into units.
