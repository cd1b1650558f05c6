/* The program's version. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LAB_VERSION_H
#define LAB_VERSION_H

#ifdef PACKAGE_VERSION
#define QATLAB_VERSION PACKAGE_VERSION
#else
#define QATLAB_VERSION "0.1.0"
#endif

#endif
