#!/bin/sh
# What each part of the recipe brings: one at a time, with two seeds so that noise is not sold as
# gain. Run it at the top of a project whose dataset is in place; what is done is not run again.
#
#     sh tests/benchmarks/parts.sh [-S key=value ...]      settings that all runs share
#
# Of the rows of a part, the one with the value in params.yaml is the recipe itself.
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
