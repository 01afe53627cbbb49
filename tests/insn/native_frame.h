/* SPDX-License-Identifier: MIT */
/* Offsets shared by native.c and native.S; native.c asserts them. */
#ifndef NFOLD_INSN_NATIVE_FRAME_H
#define NFOLD_INSN_NATIVE_FRAME_H

#define FRAME_XSAVE 0
#define FRAME_GPR 832
#define FRAME_RFLAGS 960
#define FRAME_FS_BASE 968
#define FRAME_GS_BASE 976
#define FRAME_RIP 984
#define FRAME_CS 992
#define FRAME_SS 1000
#define FRAME_DS 1008
#define FRAME_FS 1010
#define FRAME_GS 1012
#define FRAME_ES 1014
#define FRAME_HOST_RSP 1016
#define FRAME_HOST_FS_BASE 1024
#define FRAME_HOST_GS_BASE 1032
#define FRAME_OUT_FS_BASE 1040
#define FRAME_OUT_GS_BASE 1048
#define FRAME_OUT_FS 1056
#define FRAME_OUT_GS 1058
#define FRAME_OUT_DS 1060
#define FRAME_OUT_ES 1062
#define FRAME_ACTIVE 1064
#define FRAME_MODE32 1068
#define FRAME_IRET_STACK 1072
#define FRAME_SIZE 1088

#endif
