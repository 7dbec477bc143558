#!/bin/sh
# Submit the example list, render it, and say where to look. Run by `make demo`.
set -eu
DAILIES_HOME=${DAILIES_HOME:-$PWD/dailies-home}
export DAILIES_HOME
"$BIN/dailies" submit examples/shotlist.csv
"$BIN/dailies" plan
"$BIN/dailies" render
cat <<TEXT

The deliverables of each shot, its contact sheet and its manifest:
  $DAILIES_HOME/deliveries
To look at them:
  open a *_contact.jpg in any picture viewer, a *_h265.mp4 or *_webm.webm in any player (the WebM also in a browser).
What else there is:
  $BIN/dailies shots      $BIN/dailies status      $BIN/dailies doctor      $BIN/dailies --help
TEXT
