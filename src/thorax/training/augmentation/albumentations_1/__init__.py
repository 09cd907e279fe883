"""Translate transforms that albumentations 0.x and 1.x wrote to version 2.

Version 2 renamed many arguments and classes, and changed defaults. Grey levels above 1 are of 8-bit
images, as these versions mostly had; here slices are 0..1. Conversions to the input of a network
(`Normalize`, `ToFloat`, `ToTensorV2`) are left out, because a network of thorax has its own.

Sources: the code of albumentations 0.5.2, 1.1.0, 1.3.1 and 2.0.8.
"""
