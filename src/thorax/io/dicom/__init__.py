"""Read a DICOM series as one volume."""
