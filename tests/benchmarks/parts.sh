#!/bin/sh
# Ablation: vary one setting at a time, each with two seeds to show the noise. Run it in the top
# folder of a project with its dataset; finished runs are skipped.
#
#     sh tests/benchmarks/parts.sh [-S key=value ...]      settings of all runs
#
# In each table, the row with the value of params.yaml is the baseline.
set -e
for part in \
    augmentation.level=none,soft,medium,hard \
    augmentation.flip=0.0,0.5 \
    train.rare_region_share=0.0,0.8 \
    loss=focal_dice,bce_dice,bce,tversky \
    train.context=0,1,2,3 \
    train.learning_rate=0.001,0.003 \
    train.ema_momentum=0.0,0.99 \
    losses.deep_supervision=0.0,0.5
do
    thorax sweep "$@" -S seed=0,1 -S "$part"
done
