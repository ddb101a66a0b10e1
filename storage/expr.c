#include "storage/expr.h"
