#include "net/router.h"
