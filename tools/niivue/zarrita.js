// Replaces zarrita, whose decoders are half of the bundle: no page here reads Zarr.
export {};
