//! The state machines of the RFCs: no bytes, no maps, no allocation.
