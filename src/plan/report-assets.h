/* SPDX-License-Identifier: MIT */
/* The parts of the page, made into strings by tools/embed when nfold is built. */
#ifndef NFOLD_PLAN_REPORT_ASSETS_H
#define NFOLD_PLAN_REPORT_ASSETS_H

extern const char report_asset_css[], report_asset_html[], report_asset_js[];
extern const char report_asset_estate_html[], report_asset_estate_js[];
extern const char report_asset_chart[]; /* Chart.js with its license */

#endif
