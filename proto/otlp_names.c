#include "proto/otlp.h"
