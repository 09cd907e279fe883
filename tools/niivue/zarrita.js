// Stands in for zarrita, whose decoders take half of the bundle: no page here reads Zarr.
export {};
