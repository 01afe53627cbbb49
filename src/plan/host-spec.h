/* SPDX-License-Identifier: MIT */
/* A kind of host, as it is written on the command line: "name=big,cpus=32,ghz=2.6,memory=512G,disk=2000MB/s,iops=50000,
 * net=25Gb/s,count=10,cost=9000", and rating= or model= (see ratings.h). */
#ifndef NFOLD_PLAN_HOST_SPEC_H
#define NFOLD_PLAN_HOST_SPEC_H

#include "plan/demand.h"

struct host_spec {
	char name[64], model[64];	 /* "": no model was stated */
	double capacity[RESOURCE_COUNT]; /* the whole machine; 0: not stated */
	double processors;		 /* their number */
	double rating;			 /* of one processor; 0: not stated */
	unsigned count;			 /* 0: as many as needed */
	double cost;			 /* of one; 0: not stated */
};

/* Memory is in KiB, MiB and so on (K, M, G, T); rates in bytes or bits a second (MB/s, Gb/s). */
bool host_spec_read(struct host_spec *spec, const char *text, struct error *error);

/* "cpu=20%,memory=10%" or "15%" for all: shares of 1, by resource. Those that are not named keep their value. */
bool shares_read(double share[RESOURCE_COUNT], const char *option, const char *text, struct error *error);

#endif
